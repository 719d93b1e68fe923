/* Loaded before libc: the wall clock jumps, and files of a folder become stale, while a file says so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Seconds by which the wall clock is wrong: what stands in the file of this name, nothing where there is none. */
static long jump(void) {
  static int (*real_open)(const char *, int, ...);
  const char *file = getenv("CHAOS_CLOCK");
  char text[32] = {0};
  int handle, kept = errno;
  if (!file) return 0;
  if (!real_open) real_open = dlsym(RTLD_NEXT, "open64");
  handle = real_open(file, O_RDONLY | O_CLOEXEC);
  if (handle >= 0) {
    if (read(handle, text, sizeof text - 1) < 0) text[0] = 0;
    close(handle);
  }
  errno = kept;
  return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  int result;
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  result = real(clock, at);
  if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += jump();
  return result;
}

int gettimeofday(struct timeval *at, void *zone) {
  static int (*real)(struct timeval *, void *);
  int result;
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  result = real(at, zone);
  if (!result) at->tv_sec += jump();
  return result;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}

/* True for a file below the folder of this name, while the file that says so is there. */
static int stale(const char *path) {
  static int (*real)(const char *, int);
  const char *folder = getenv("CHAOS_STALE_BELOW"), *since = getenv("CHAOS_STALE");
  int kept = errno, found;
  if (!folder || !since || !path || strncmp(path, folder, strlen(folder))) return 0;
  if (!real) real = dlsym(RTLD_NEXT, "access");
  found = !real(since, F_OK);
  errno = kept;
  return found;
}

#define OPENS(name)                                                \
  int name(const char *path, int flags, ...) {                     \
    static int (*real)(const char *, int, ...);                    \
    va_list more;                                                  \
    mode_t mode;                                                   \
    va_start(more, flags);                                         \
    mode = va_arg(more, mode_t);                                   \
    va_end(more);                                                  \
    if (!real) real = dlsym(RTLD_NEXT, #name);                     \
    if (stale(path)) {                                             \
      errno = ESTALE;                                              \
      return -1;                                                   \
    }                                                              \
    return real(path, flags, mode);                                \
  }
OPENS(open)
OPENS(open64)
