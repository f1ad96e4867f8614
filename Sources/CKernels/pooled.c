#include "lanes.h"

// Activations of a classifier's pooled rows: one row a sequence, so nothing hangs on their speed.

void ck_tanh(size_t n, const float *x, float *y) {
  for (size_t i = 0; i < n; i++) y[i] = tanhf(x[i]);
}

void ck_tanh_backward(size_t n, const float *y, const float *dy, float *dx) {
  CK_VECTOR_LOOP
  for (size_t i = 0; i < n; i++) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

void ck_relu(size_t n, const float *x, float *y) {
  CK_VECTOR_LOOP
  for (size_t i = 0; i < n; i++) y[i] = x[i] <= 0 ? 0 : x[i];
}

void ck_relu_backward(size_t n, const float *y, const float *dy, float *dx) {
  CK_VECTOR_LOOP
  for (size_t i = 0; i < n; i++) dx[i] = y[i] <= 0 ? 0 : dy[i];
}
