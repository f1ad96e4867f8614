#if !__has_include(<mpi.h>)
#error "mpi.h not found: install an MPI library (Debian, Ubuntu: apt-get install libopenmpi-dev openmpi-bin)"
#endif

#include "CMPI.h"

#include <limits.h>
#include <mpi.h>

#define COMM(handle) ((MPI_Comm)(handle).raw)
#define TYPE(handle) ((MPI_Datatype)(handle).raw)
#define OP(handle) ((MPI_Op)(handle).raw)
#define WIN(handle) ((MPI_Win)(handle).raw)
#define REQUEST(handle) ((MPI_Request)(handle).raw)

_Static_assert(sizeof(MPI_Comm) <= sizeof(intptr_t), "a communicator fits a word");
_Static_assert(sizeof(MPI_Datatype) <= sizeof(intptr_t), "a datatype fits a word");
_Static_assert(sizeof(MPI_Op) <= sizeof(intptr_t), "an operation fits a word");
_Static_assert(sizeof(MPI_Win) <= sizeof(intptr_t), "a window fits a word");
_Static_assert(sizeof(MPI_Request) <= sizeof(intptr_t), "a request fits a word");

int CMPI_success(void) { return MPI_SUCCESS; }

size_t CMPI_max_text(void) {
  int length = MPI_MAX_ERROR_STRING > MPI_MAX_PROCESSOR_NAME ? MPI_MAX_ERROR_STRING : MPI_MAX_PROCESSOR_NAME;
  return (size_t)length + 1;
}

CMPI_Comm CMPI_comm_world(void) { return (CMPI_Comm){(intptr_t)MPI_COMM_WORLD}; }
CMPI_Datatype CMPI_float(void) { return (CMPI_Datatype){(intptr_t)MPI_FLOAT}; }
CMPI_Datatype CMPI_double(void) { return (CMPI_Datatype){(intptr_t)MPI_DOUBLE}; }
CMPI_Datatype CMPI_int64(void) { return (CMPI_Datatype){(intptr_t)MPI_INT64_T}; }
CMPI_Op CMPI_sum(void) { return (CMPI_Op){(intptr_t)MPI_SUM}; }
CMPI_Op CMPI_max(void) { return (CMPI_Op){(intptr_t)MPI_MAX}; }
CMPI_Op CMPI_min(void) { return (CMPI_Op){(intptr_t)MPI_MIN}; }

int CMPI_Init_threads(int asks_multiple, int *funneled, int *multiple) {
  int provided = MPI_THREAD_SINGLE;
  int code = MPI_Init_thread(NULL, NULL, asks_multiple ? MPI_THREAD_MULTIPLE : MPI_THREAD_FUNNELED, &provided);
  *funneled = provided >= MPI_THREAD_FUNNELED;
  *multiple = provided >= MPI_THREAD_MULTIPLE;
  return code;
}

int CMPI_Finalize(void) { return MPI_Finalize(); }
int CMPI_Initialized(int *flag) { return MPI_Initialized(flag); }
int CMPI_Finalized(int *flag) { return MPI_Finalized(flag); }
int CMPI_Abort(CMPI_Comm comm, int exit_status) { return MPI_Abort(COMM(comm), exit_status); }

int CMPI_Get_processor_name(char *name) {
  int length = 0;
  int code = MPI_Get_processor_name(name, &length);
  name[code == MPI_SUCCESS ? length : 0] = 0;
  return code;
}

int CMPI_Error_string(int code, char *text) {
  int length = 0;
  int result = MPI_Error_string(code, text, &length);
  text[result == MPI_SUCCESS ? length : 0] = 0;
  return result;
}

int CMPI_Comm_rank(CMPI_Comm comm, int *rank) { return MPI_Comm_rank(COMM(comm), rank); }
int CMPI_Comm_size(CMPI_Comm comm, int *size) { return MPI_Comm_size(COMM(comm), size); }

int CMPI_Comm_split(CMPI_Comm comm, int color, int key, CMPI_Comm *result, int *is_null) {
  MPI_Comm part = MPI_COMM_NULL;
  int code = MPI_Comm_split(COMM(comm), color < 0 ? MPI_UNDEFINED : color, key, &part);
  *is_null = part == MPI_COMM_NULL;
  result->raw = (intptr_t)part;
  return code;
}

int CMPI_Comm_split_shared(CMPI_Comm comm, int key, CMPI_Comm *result) {
  MPI_Comm part = MPI_COMM_NULL;
  int code = MPI_Comm_split_type(COMM(comm), MPI_COMM_TYPE_SHARED, key, MPI_INFO_NULL, &part);
  result->raw = (intptr_t)part;
  return code;
}

int CMPI_Comm_free(CMPI_Comm *comm) {
  MPI_Comm handle = COMM(*comm);
  int code = MPI_Comm_free(&handle);
  comm->raw = (intptr_t)handle;
  return code;
}

int CMPI_Comm_set_errors_return(CMPI_Comm comm) { return MPI_Comm_set_errhandler(COMM(comm), MPI_ERRORS_RETURN); }

int CMPI_Barrier(CMPI_Comm comm) { return MPI_Barrier(COMM(comm)); }

int CMPI_Bcast_bytes(void *buffer, size_t count, int root, CMPI_Comm comm) {
  if (count > INT_MAX) return MPI_ERR_COUNT;
  return MPI_Bcast(buffer, (int)count, MPI_BYTE, root, COMM(comm));
}

int CMPI_Allreduce_in_place(void *buffer, size_t count, CMPI_Datatype type, CMPI_Op op, CMPI_Comm comm) {
  if (count > INT_MAX) return MPI_ERR_COUNT;
  return MPI_Allreduce(MPI_IN_PLACE, buffer, (int)count, TYPE(type), OP(op), COMM(comm));
}

int CMPI_Reduce_scatter_in_place(void *buffer, const int *counts, CMPI_Datatype type, CMPI_Op op, CMPI_Comm comm) {
  return MPI_Reduce_scatter(MPI_IN_PLACE, buffer, counts, TYPE(type), OP(op), COMM(comm));
}

int CMPI_Allgatherv_in_place(void *buffer, const int *counts, const int *offsets, CMPI_Datatype type, CMPI_Comm comm) {
  return MPI_Allgatherv(MPI_IN_PLACE, 0, TYPE(type), buffer, counts, offsets, TYPE(type), COMM(comm));
}

int CMPI_Ialltoallv(
    const void *source, const int *counts, const int *offsets, void *result, const int *result_counts, const int *result_offsets,
    CMPI_Datatype type, CMPI_Comm comm, CMPI_Request *request) {
  MPI_Request handle = MPI_REQUEST_NULL;
  int code = MPI_Ialltoallv(
      source, counts, offsets, TYPE(type), result, result_counts, result_offsets, TYPE(type), COMM(comm), &handle);
  request->raw = (intptr_t)handle;
  return code;
}

int CMPI_Iallgatherv_in_place(
    void *buffer, const int *counts, const int *offsets, CMPI_Datatype type, CMPI_Comm comm, CMPI_Request *request) {
  MPI_Request handle = MPI_REQUEST_NULL;
  int code = MPI_Iallgatherv(MPI_IN_PLACE, 0, TYPE(type), buffer, counts, offsets, TYPE(type), COMM(comm), &handle);
  request->raw = (intptr_t)handle;
  return code;
}

int CMPI_Test(CMPI_Request *request, int *done) {
  MPI_Request handle = REQUEST(*request);
  int code = MPI_Test(&handle, done, MPI_STATUS_IGNORE);
  request->raw = (intptr_t)handle;
  return code;
}

int CMPI_Gather_bytes(const void *bytes, size_t count, void *result, int root, CMPI_Comm comm) {
  if (count > INT_MAX) return MPI_ERR_COUNT;
  return MPI_Gather(bytes, (int)count, MPI_BYTE, result, (int)count, MPI_BYTE, root, COMM(comm));
}

int CMPI_Allgather_bytes(const void *bytes, size_t count, void *result, CMPI_Comm comm) {
  if (count > INT_MAX) return MPI_ERR_COUNT;
  return MPI_Allgather(bytes, (int)count, MPI_BYTE, result, (int)count, MPI_BYTE, COMM(comm));
}

int CMPI_Gatherv_bytes(
    const void *bytes, size_t count, void *result, const int *counts, const int *offsets, int root, CMPI_Comm comm) {
  if (count > INT_MAX) return MPI_ERR_COUNT;
  return MPI_Gatherv(bytes, (int)count, MPI_BYTE, result, counts, offsets, MPI_BYTE, root, COMM(comm));
}

int CMPI_Allgatherv_bytes(
    const void *bytes, size_t count, void *result, const int *counts, const int *offsets, CMPI_Comm comm) {
  if (count > INT_MAX) return MPI_ERR_COUNT;
  return MPI_Allgatherv(bytes, (int)count, MPI_BYTE, result, counts, offsets, MPI_BYTE, COMM(comm));
}

int CMPI_Win_allocate_shared(size_t count, CMPI_Comm comm, CMPI_Win *result) {
  MPI_Info info = MPI_INFO_NULL;
  MPI_Win win = MPI_WIN_NULL;
  void *base = NULL;
  int code = MPI_Info_create(&info);
  if (code != MPI_SUCCESS) return code;
  // Each rank's part may lie where it likes: page-aligned, and near its own core.
  code = MPI_Info_set(info, "alloc_shared_noncontig", "true");
  if (code == MPI_SUCCESS) code = MPI_Win_allocate_shared((MPI_Aint)count, 1, info, COMM(comm), &base, &win);
  MPI_Info_free(&info);
  if (code == MPI_SUCCESS) code = MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
  if (code == MPI_SUCCESS) code = MPI_Win_lock_all(MPI_MODE_NOCHECK, win);
  result->raw = (intptr_t)win;
  return code;
}

int CMPI_Win_shared_query(CMPI_Win win, int rank, size_t *count, void **base) {
  MPI_Aint size = 0;
  int unit = 0;
  int code = MPI_Win_shared_query(WIN(win), rank, &size, &unit, base);
  *count = (size_t)size;
  return code;
}

int CMPI_Win_sync(CMPI_Win win) { return MPI_Win_sync(WIN(win)); }

int CMPI_Win_free(CMPI_Win *win) {
  MPI_Win handle = WIN(*win);
  int code = MPI_Win_unlock_all(handle);
  if (code == MPI_SUCCESS) code = MPI_Win_free(&handle);
  win->raw = (intptr_t)handle;
  return code;
}
