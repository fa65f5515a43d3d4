/* Steps the wall clock and the answers of the resolver under a running process, by LD_PRELOAD: the real operator sees another time
 * and other addresses, and nobody else does. No time namespace of Linux has a wall clock, and a name server's port takes root.
 *
 *   CLOCK_OFFSET   file with seconds to add to the wall clock, eight bytes of this machine's order; may be written at any time
 *   NAMES          file with lines `host answer`, the host exactly as it is asked for, absolute; an answer is `none`, an address, or `SECONDS:address` for one that comes late
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef int clock_function(clockid_t, struct timespec *);
typedef int resolver_function(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static clock_function *real_clock;
static resolver_function *real_resolver;
static volatile int64_t *offset;

__attribute__((constructor)) static void prepare(void) {
	real_clock = (clock_function *)dlsym(RTLD_NEXT, "clock_gettime");
	real_resolver = (resolver_function *)dlsym(RTLD_NEXT, "getaddrinfo");
	const char *path = getenv("CLOCK_OFFSET");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (file >= 0) {
		void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
		if (mapped != MAP_FAILED) offset = mapped;
		close(file);
	}
}

int clock_gettime(clockid_t clock, struct timespec *time) {
	int failed = real_clock(clock, time);
	if (!failed && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += *offset;
	return failed;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
	char name[256], answer[256];
	const char *path = getenv("NAMES");
	FILE *file = path && host ? fopen(path, "re") : NULL;
	int known = 0;
	while (file && !known && fscanf(file, "%255s %255s", name, answer) == 2) known = strcmp(name, host) == 0;
	if (file) fclose(file);
	if (!known) return real_resolver(host, service, hints, found);
	if (strcmp(answer, "none") == 0) return EAI_NONAME;
	char *address = strchr(answer, ':');
	if (!address) return real_resolver(answer, service, hints, found);
	*address++ = 0;
	sleep((unsigned)atoi(answer));
	return real_resolver(address, service, hints, found);
}
