/* Writes 100 MiB as fast as its stdout takes them, without announcing a length. */
#include <string.h>
#include <unistd.h>

int main(void)
{
	static const char head[] = "Content-Type: application/octet-stream\n\n";
	static char block[65536];
	long left = 100L << 20;
	if (write(1, head, sizeof head - 1) != sizeof head - 1)
		return 1;
	memset(block, 'x', sizeof block);
	while (left > 0) {
		ssize_t put = write(1, block, left < (long)sizeof block ? (size_t)left : sizeof block);
		if (put <= 0)
			return 1;
		left -= put;
	}
	return 0;
}
