#include "lanes.h"

CK_KERNEL void ck_embed(size_t rows, size_t d, const int32_t *tokens, const int32_t *positions, const float *token_table,
                        const float *position_table, float *x) {
  for (size_t row = 0; row < rows; row++) {
    const float *token = token_table + (size_t)tokens[row] * d;
    float *out = x + row * d;
    if (!position_table) {
      if (d) memcpy(out, token, d * sizeof(float));
      continue;
    }
    const float *position = position_table + (size_t)positions[row] * d;
    CK_VECTOR_LOOP
    for (size_t i = 0; i < d; i++) out[i] = token[i] + position[i];
  }
}

CK_KERNEL void ck_add_gathered_rows(size_t rows, size_t d, const int32_t *index, const float *table, float *x) {
  for (size_t row = 0; row < rows; row++) {
    const float *in = table + (size_t)index[row] * d;
    float *out = x + row * d;
    CK_VECTOR_LOOP
    for (size_t i = 0; i < d; i++) out[i] += in[i];
  }
}

CK_KERNEL void ck_scatter_add(size_t rows, size_t d, const int32_t *index, const float *weights, const float *g,
                              size_t first_row, size_t table_rows, float *table, size_t ld) {
  for (size_t row = 0; row < rows; row++) {
    const float w = weights ? weights[row] : 1;
    // An index below `first_row` wraps around and is not below `table_rows` either.
    const size_t place = (size_t)index[row] - first_row;
    if (w == 0 || place >= table_rows) continue;
    const float *in = g + row * ld;
    float *out = table + place * ld;
    CK_VECTOR_LOOP
    for (size_t i = 0; i < d; i++) out[i] += w * in[i];
  }
}
