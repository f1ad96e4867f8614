#define _GNU_SOURCE
#include "CSyncCounter.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local int64_t flushes, bytes = -1;

int64_t sc_flushes(void) { return flushes; }

int64_t sc_bytes_at_last_flush(void) { return bytes; }

int fsync(int file) {
  struct stat status;
  flushes++;
  if (fstat(file, &status) == 0) bytes = status.st_size;
  return (int)syscall(SYS_fsync, file);
}
