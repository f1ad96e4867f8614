#include "lanes.h"

CK_KERNEL void ck_rotate(size_t rows, size_t heads, size_t head_width, const int32_t *positions, const float *table, float direction,
                         float *x, size_t ldx) {
  const size_t half = head_width / 2;
  for (size_t row = 0; row < rows; row++) {
    const float *cosines = table + (size_t)positions[row] * head_width, *sines = cosines + half;
    for (size_t h = 0; h < heads; h++) {
      float *first = x + row * ldx + h * head_width, *second = first + half;
      CK_VECTOR_LOOP
      for (size_t i = 0; i < half; i++) {
        const float a = first[i], b = second[i], s = direction * sines[i];
        first[i] = a * cosines[i] - b * s;
        second[i] = b * cosines[i] + a * s;
      }
    }
  }
}
