/* The smallest honest CGI program: one write, so that what is measured is the server and the kernel. */
#include <unistd.h>

int main(void)
{
	static const char answer[] = "Content-Type: text/plain\n\nhello";
	ssize_t size = sizeof answer - 1;
	return write(1, answer, size) != size;
}
