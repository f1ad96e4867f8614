#include "lanes.h"

void ck_fill_rows(size_t rows, size_t p, const float *bias, float *y, size_t ldy) {
  if (!p) return;
  for (size_t row = 0; row < rows; row++) memcpy(y + row * ldy, bias, p * sizeof(float));
}

CK_KERNEL void ck_add_rows(size_t rows, size_t p, const float *bias, float *y, size_t ldy) {
  for (size_t row = 0; row < rows; row++) {
    float *out = y + row * ldy;
    CK_VECTOR_LOOP
    for (size_t i = 0; i < p; i++) out[i] += bias[i];
  }
}

CK_KERNEL void ck_scale_rows(size_t rows, size_t p, const float *weights, const float *x, size_t ldx, float *y, size_t ldy) {
  for (size_t row = 0; row < rows; row++) {
    const float *in = x + row * ldx;
    float *out = y + row * ldy;
    const float w = weights[row];
    if (w == 0) {
      if (p) memset(out, 0, p * sizeof(float));
      continue;
    }
    if (w == 1) {
      if (p && in != out) memcpy(out, in, p * sizeof(float));
      continue;
    }
    CK_VECTOR_LOOP
    for (size_t i = 0; i < p; i++) out[i] = w * in[i];
  }
}
