// What a file no longer has can't be read from where it is mapped: the kernel sends SIGBUS, wherever a kernel's loop is at that moment.
// There is no way back from there, so the process says which file it was and ends, and with it the job.
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "CKernels.h"

#define CK_MOST_MAPPINGS 1024

static struct {
  _Atomic(uintptr_t) start;  // 0: free
  uintptr_t end;
  const char *line;
  int status, delay;
} mappings[CK_MOST_MAPPINGS];

static struct sigaction before;
static atomic_flag is_ending = ATOMIC_FLAG_INIT;

// Calls nothing but what signal-safety(7) allows.
static void end_of_file(int signal_number, siginfo_t *info, void *context) {
  (void)signal_number, (void)context;
  const uintptr_t address = (uintptr_t)info->si_addr;
  for (size_t i = 0; i < CK_MOST_MAPPINGS; i++) {
    const uintptr_t start = atomic_load(&mappings[i].start);
    if (!start || address < start || address >= mappings[i].end) continue;
    // Other threads may be at the same file: one of them speaks.
    if (atomic_flag_test_and_set(&is_ending)) for (;;) pause();
    struct timespec delay = {.tv_sec = mappings[i].delay / 1000, .tv_nsec = mappings[i].delay % 1000 * 1000000L};
    nanosleep(&delay, 0);
    const char *line = mappings[i].line;
    if (write(STDERR_FILENO, line, strlen(line)) < 0) _exit(mappings[i].status);
    _exit(mappings[i].status);
  }
  // Not of a file that is known here: what would have happened without this handler happens when the access is made again,
  // or the signal is sent again where another process had sent it.
  sigaction(SIGBUS, &before, 0);
  if (info->si_code <= 0) raise(SIGBUS);
}

int ck_guard_mapping(const void *start, size_t length, const char *line, int status, int delay) {
  static atomic_flag is_installed = ATOMIC_FLAG_INIT;
  if (!atomic_flag_test_and_set(&is_installed)) {
    struct sigaction action = {.sa_sigaction = end_of_file, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before);
  }
  for (size_t i = 0; i < CK_MOST_MAPPINGS; i++) {
    if (atomic_load(&mappings[i].start)) continue;
    mappings[i].end = (uintptr_t)start + length;
    mappings[i].line = line;
    mappings[i].status = status;
    mappings[i].delay = delay;
    atomic_store(&mappings[i].start, (uintptr_t)start);
    return (int)i;
  }
  return -1;
}

void ck_forget_mapping(int place) { atomic_store(&mappings[place].start, 0); }
