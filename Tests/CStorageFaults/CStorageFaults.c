#define _GNU_SOURCE
#include "CStorageFaults.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static char calls[128], pattern[512];
static int code;
static atomic_long left;

__attribute__((constructor)) static void start(void) {
  const char *fault = getenv("STORAGE_FAULT");
  long after = 0;
  if (fault && sscanf(fault, "%126[^:]:%511[^:]:%ld:%d", calls + 1, pattern, &after, &code) == 4) {
    calls[0] = ',';
    strcat(calls, ",");
    atomic_store(&left, after);
  } else {
    code = 0;
  }
}

static int fails(const char *call, const char *path) {
  char name[32];
  if (code == 0) return 0;
  snprintf(name, sizeof name, ",%s,", call);
  if (!strstr(calls, name) || fnmatch(pattern, path, 0) != 0) return 0;
  if (atomic_fetch_sub(&left, 1) > 0) return 0;
  errno = code;
  return 1;
}

static int fails_on(const char *call, int file) {
  char link[64], path[4096];
  if (code == 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(call, path);
}

/* A code below 0: what is written has a bit that is another. */
static ssize_t write_damaged(int file, const void *bytes, size_t count) {
  char *copy = malloc(count);
  if (!copy) return -1;
  memcpy(copy, bytes, count);
  copy[count - 1] ^= 0x40;
  const ssize_t written = syscall(SYS_write, file, copy, count);
  free(copy);
  return written;
}

ssize_t write(int file, const void *bytes, size_t count) {
  if (code < 0) return count && fails_on("write", file) ? write_damaged(file, bytes, count) : syscall(SYS_write, file, bytes, count);
  const int is_direct = code && (fcntl(file, F_GETFL) & O_DIRECT) && fails_on("direct", file);
  return is_direct || fails_on("write", file) ? -1 : syscall(SYS_write, file, bytes, count);
}

int fsync(int file) { return fails_on("fsync", file) ? -1 : (int)syscall(SYS_fsync, file); }

int ftruncate(int file, off_t length) { return fails_on("ftruncate", file) ? -1 : (int)syscall(SYS_ftruncate, file, length); }
int ftruncate64(int file, off_t length) { return ftruncate(file, length); }

int rename(const char *old, const char *new) {
  return fails("rename", new) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, old, AT_FDCWD, new, 0);
}

int mkdir(const char *path, mode_t mode) { return fails("mkdir", path) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode); }

int unlink(const char *path) { return fails("unlink", path) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0); }

static int opened(const char *path, int flags, mode_t mode) {
  if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && fails("open", path)) return -1;
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

#define MODE                                                  \
  mode_t mode = 0;                                            \
  if (flags & (O_CREAT | O_TMPFILE)) {                        \
    va_list list;                                             \
    va_start(list, flags);                                    \
    mode = va_arg(list, mode_t);                              \
    va_end(list);                                             \
  }

int open(const char *path, int flags, ...) {
  MODE
  return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  MODE
  return opened(path, flags, mode);
}
