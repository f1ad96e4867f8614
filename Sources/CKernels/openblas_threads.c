// OpenBLAS starts a thread for every core when it is loaded, each with a stack and up to 128 MB of address space. None of them ever works
// here: a product's blocks are spread over this program's own threads. Where a limit (ulimit -v) leaves no room for the 128 MB, such a
// thread looks for them for ever, and the program never ends (memory.c, blas_memory_alloc). Where the threads themselves may not be
// (ulimit -u), it interrupts the program with SIGINT.
//
// Under such limits the program is therefore started again, with OPENBLAS_NUM_THREADS=1. That has to be in the environment before any
// library's constructors run, and the C library's puts back the environment that the process was given: setenv would come to nothing.
// .preinit_array runs before them; programs have it and libraries haven't.
#if defined(__linux__)
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char choice[] = "OPENBLAS_NUM_THREADS=1";
// Of all of a user's: systems that don't mean to restrict allow more.
static const rlim_t enough_processes = 4096;

static void keep_openblas_to_one_thread(int count, char **arguments, char **environment) {
  (void)count;
  struct rlimit addresses, processes;
  if (getrlimit(RLIMIT_AS, &addresses) != 0 || getrlimit(RLIMIT_NPROC, &processes) != 0) return;
  if (addresses.rlim_cur == RLIM_INFINITY && processes.rlim_cur >= enough_processes) return;
  static char program[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length <= 0) return;
  size_t variables = 0;
  while (environment[variables]) {
    if (strcmp(environment[variables++], choice) == 0) return;
  }
  char *changed[variables + 2];
  size_t kept = 0;
  changed[kept++] = (char *)choice;
  for (size_t i = 0; i < variables; i++) {
    if (strncmp(environment[i], choice, sizeof choice - 2) != 0) changed[kept++] = environment[i];
  }
  changed[kept] = NULL;
  execve(program, arguments, changed);
}

__attribute__((section(".preinit_array"), used)) static void (*const before_libraries)(int, char **, char **) = keep_openblas_to_one_thread;
#endif
