// MPI for Swift.
//
// Swift cannot import MPI's handle macros, and their types differ between libraries (pointers in Open MPI, integers in MPICH).
// So this header has no mpi.h: a handle is a struct of one word, a count is a size_t, and every call returns MPI's code
// (CMPI_success, or an error for CMPI_Error_string). The section numbers are those of the MPI 4.0 standard.
//
// A count above INT_MAX gives MPI_ERR_COUNT: the caller works in pieces. Pointers are never null, for empty buffers neither:
// Open MPI does not check them.

#ifndef CMPI_H
#define CMPI_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

typedef struct { intptr_t raw; } CMPI_Comm;
typedef struct { intptr_t raw; } CMPI_Datatype;
typedef struct { intptr_t raw; } CMPI_Op;
typedef struct { intptr_t raw; } CMPI_Win;
typedef struct { intptr_t raw; } CMPI_Request;

// Constants (functions, because the macros behind them are not constants in every library).

int CMPI_success(void);
// Capacity, the terminating null included, for CMPI_Error_string and for CMPI_Get_processor_name.
size_t CMPI_max_text(void);
CMPI_Comm CMPI_comm_world(void);
CMPI_Datatype CMPI_float(void);
CMPI_Datatype CMPI_double(void);
CMPI_Datatype CMPI_int64(void);
CMPI_Op CMPI_sum(void);
CMPI_Op CMPI_max(void);
CMPI_Op CMPI_min(void);

// Environment: 9.1 names, 9.3 errors, 11.2 start and end, 11.6 threads.

// MPI_Init_thread with MPI_THREAD_MULTIPLE, or MPI_THREAD_FUNNELED. `multiple` becomes 0 where the library grants less than the former, `funneled`
// where less than the latter.
int CMPI_Init_threads(int asks_multiple, int *funneled, int *multiple);
int CMPI_Finalize(void);
int CMPI_Initialized(int *flag);
int CMPI_Finalized(int *flag);
int CMPI_Abort(CMPI_Comm comm, int exit_status);
int CMPI_Get_processor_name(char *name);
int CMPI_Error_string(int code, char *text);

// Communicators: 7.4, 9.3.1.

int CMPI_Comm_rank(CMPI_Comm comm, int *rank);
int CMPI_Comm_size(CMPI_Comm comm, int *size);
// `color` below 0 stands for MPI_UNDEFINED: no communicator for this rank, and `is_null` becomes 1.
int CMPI_Comm_split(CMPI_Comm comm, int color, int key, CMPI_Comm *result, int *is_null);
// MPI_COMM_TYPE_SHARED: the ranks that can share memory.
int CMPI_Comm_split_shared(CMPI_Comm comm, int key, CMPI_Comm *result);
int CMPI_Comm_free(CMPI_Comm *comm);
int CMPI_Comm_set_errors_return(CMPI_Comm comm);

// Collectives: chapter 6.

int CMPI_Barrier(CMPI_Comm comm);
int CMPI_Bcast_bytes(void *buffer, size_t count, int root, CMPI_Comm comm);
int CMPI_Allreduce_in_place(void *buffer, size_t count, CMPI_Datatype type, CMPI_Op op, CMPI_Comm comm);
// Rank r gets the sum of the r-th of the consecutive blocks of counts[r] elements that `buffer` has, at the beginning of `buffer`. What
// follows it there is undefined.
int CMPI_Reduce_scatter_in_place(void *buffer, const int *counts, CMPI_Datatype type, CMPI_Op op, CMPI_Comm comm);
// counts[r] elements from rank r, which lie where they belong: at offsets[r] elements from the beginning of `buffer`.
int CMPI_Allgatherv_in_place(void *buffer, const int *counts, const int *offsets, CMPI_Datatype type, CMPI_Comm comm);
// Nonblocking (6.12): buffers, counts and offsets belong to MPI until CMPI_Test (3.7.3) says that the request is done.
// counts[r] elements to each rank, and from each; what is sent and received lies apart.
int CMPI_Ialltoallv(
    const void *source, const int *counts, const int *offsets, void *result, const int *result_counts, const int *result_offsets,
    CMPI_Datatype type, CMPI_Comm comm, CMPI_Request *request);
// As CMPI_Allgatherv_in_place.
int CMPI_Iallgatherv_in_place(
    void *buffer, const int *counts, const int *offsets, CMPI_Datatype type, CMPI_Comm comm, CMPI_Request *request);
int CMPI_Test(CMPI_Request *request, int *done);
// `count` bytes from each rank; `result` has room for size · count.
int CMPI_Gather_bytes(const void *bytes, size_t count, void *result, int root, CMPI_Comm comm);
int CMPI_Allgather_bytes(const void *bytes, size_t count, void *result, CMPI_Comm comm);
// counts[r] bytes from rank r, to offsets[r]; `count` is this rank's own.
int CMPI_Gatherv_bytes(
    const void *bytes, size_t count, void *result, const int *counts, const int *offsets, int root, CMPI_Comm comm);
int CMPI_Allgatherv_bytes(
    const void *bytes, size_t count, void *result, const int *counts, const int *offsets, CMPI_Comm comm);

// Shared memory: 12.2.3 windows, 12.5.3 passive target (the whole life of the window is one epoch), 12.5.4 synchronisation.

// Collective over ranks that can share memory. `count` bytes of this rank's own, 0 or more.
int CMPI_Win_allocate_shared(size_t count, CMPI_Comm comm, CMPI_Win *result);
// The address here, and the size in bytes, of another rank's part.
int CMPI_Win_shared_query(CMPI_Win win, int rank, size_t *count, void *_Nullable *_Nonnull base);
int CMPI_Win_sync(CMPI_Win win);
int CMPI_Win_free(CMPI_Win *win);

#pragma clang assume_nonnull end

#endif
