#ifndef CSYNCCOUNTER_H
#define CSYNCCOUNTER_H

#include <stdint.h>

// Linked into the tests, this stands before the C library's fsync and rename, does the same, and counts: a flush that was left out shows in nothing else
// until the power fails.

// Flushes by this thread since it started.
int64_t sc_flushes(void);

// Size of the file that this thread flushed last, as it was then; -1 before the first.
int64_t sc_bytes_at_last_flush(void);

// What the process has flushed and renamed since it started, a line each: "flush PATH", "rename TO". For a process of one thread that does so.
const char *sc_events(void);

#endif
