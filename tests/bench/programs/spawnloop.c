/*
 * The floor under CGI: vfork, exec, read the pipe to its end, wait; over and over, nothing else.
 *
 *     spawnloop CORE SECONDS PROGRAM
 *
 * One process pinned to CORE. In C because vfork's child borrows the parent's stack, which Rust cannot promise to
 * survive. Prints "starts=N us=N p50=N p99=N cpu_us=N errors=N"; cpu_us is this process with its children.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HISTOGRAM = 1 << 20 }; /* microseconds; the last cell takes all that is slower */
static unsigned cells[HISTOGRAM];

static long long now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static long long spent_us(int who)
{
	struct rusage use;
	getrusage(who, &use);
	return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000LL + use.ru_utime.tv_usec + use.ru_stime.tv_usec;
}

/* Out of line, so that the child cannot touch a variable of the loop on the stack that it shares. */
static __attribute__((noinline)) pid_t start(const char *program, int out)
{
	static char *const environment[] = { "GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET", NULL };
	char *const arguments[] = { (char *)program, NULL };
	pid_t pid = vfork();
	if (pid == 0) {
		dup2(out, 1);
		execve(program, arguments, environment);
		_exit(127);
	}
	return pid;
}

static int one(const char *program)
{
	int ends[2], status = 0;
	char answer[4096];
	ssize_t got, all = 0;
	if (pipe2(ends, O_CLOEXEC))
		return 0;
	pid_t pid = start(program, ends[1]);
	close(ends[1]);
	while ((got = read(ends[0], answer, sizeof answer)) > 0)
		all += got;
	close(ends[0]);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 && all > 0;
}

static long percentile(long long starts, double part)
{
	long long wanted = starts * part, seen = 0;
	for (long cell = 0; cell < HISTOGRAM; cell++)
		if ((seen += cells[cell]) > wanted)
			return cell;
	return 0;
}

int main(int count, char **arguments)
{
	if (count != 4)
		return 2;
	cpu_set_t core;
	CPU_ZERO(&core);
	CPU_SET(atoi(arguments[1]), &core);
	sched_setaffinity(0, sizeof core, &core); /* best effort: an unpinned floor is a little lower */

	long long begin = now_us(), end = begin + atof(arguments[2]) * 1e6, before = begin;
	long long starts = 0, errors = 0;
	while (before < end) {
		if (one(arguments[3]))
			starts++;
		else
			errors++;
		long long after = now_us(), took = after - before;
		cells[took < HISTOGRAM ? took : HISTOGRAM - 1]++;
		before = after;
	}
	printf("starts=%lld us=%lld p50=%ld p99=%ld cpu_us=%lld errors=%lld\n", starts, before - begin,
	       percentile(starts + errors, 0.5), percentile(starts + errors, 0.99),
	       spent_us(RUSAGE_SELF) + spent_us(RUSAGE_CHILDREN), errors);
	return 0;
}
