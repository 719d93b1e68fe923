// A file system without locks, for whoever loads this before libc: flock and the locks of fcntl fail with the errno in LOCK_ERRNO.
// As Lustre without "-o flock" (ENOSYS), NFS without lockd (ENOLCK) and some kernels (524, ENOTSUPP) answer.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>

static int refused(void) {
  const char *text = getenv("LOCK_ERRNO");
  errno = text ? atoi(text) : ENOLCK;
  return -1;
}

int flock(int fd, int operation) {
  (void)fd;
  (void)operation;
  return refused();
}

static int locks(int command) {
  return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

static int pass_on(const char *name, int fd, int command, void *argument) {
  int (*real)(int, int, ...) = (int (*)(int, int, ...))dlsym(RTLD_NEXT, name);
  return real(fd, command, argument);
}

int fcntl(int fd, int command, ...) {
  va_list more;
  va_start(more, command);
  void *argument = va_arg(more, void *);
  va_end(more);
  return locks(command) ? refused() : pass_on("fcntl", fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
  va_list more;
  va_start(more, command);
  void *argument = va_arg(more, void *);
  va_end(more);
  return locks(command) ? refused() : pass_on("fcntl64", fd, command, argument);
}
