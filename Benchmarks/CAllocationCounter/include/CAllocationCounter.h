#ifndef CALLOCATIONCOUNTER_H
#define CALLOCATIONCOUNTER_H

#include <stdint.h>

// Linked into a program, this stands before the C library's allocator and counts what is asked of it, by all threads and all libraries.
// For benchmarks: nothing of the product links it.

// Blocks of the heap that have been asked for since the program started: malloc, calloc, realloc (a block that grows counts as one more),
// and the aligned ones.
uint64_t ac_allocations(void);

// Whether they are counted: glibc alone has the allocator under a second name.
int ac_is_counting(void);

#endif
