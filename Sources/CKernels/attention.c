#include "lanes.h"

// Rows of scores end at the diagonal. A vector that straddles it is read whole where the row's memory allows, what is
// masked is replaced before it can do harm (it may be NaN), and zeros are written there.

// Keys that query m of the block sees.
CK_INLINE size_t seen_by(size_t first, size_t m, size_t columns) {
  const size_t causal = first + m + 1;
  return causal < columns ? causal : columns;
}

CK_INLINE void load_visible(f32x16 *v, const float *row, size_t j, size_t visible, size_t columns, float fill) {
  const size_t count = visible - j;
  if (count >= 16) {
    *v = CK_F32X16_IN(row + j);
  } else if (j + 16 <= columns) {
    const i32x16 seen = ck_lane_index < (int32_t)count;
    const f32x16 all = CK_F32X16_IN(row + j), other = CK_SPLAT(fill);
    ck_select(v, &seen, &all, &other);
  } else {
    ck_load_part(v, row + j, count, fill);
  }
}

CK_INLINE void store_visible(float *row, size_t j, size_t visible, size_t columns, f32x16 *v) {
  if (j + 16 <= visible) {
    CK_F32X16(row + j) = *v;
  } else if (j + 16 <= columns) {
    const i32x16 seen = ck_lane_index < (int32_t)(visible - j);
    CK_F32X16(row + j) = (f32x16)((i32x16)*v & seen);
  } else {
    ck_store_part(row + j, visible - j, v);
  }
}

CK_INLINE void clear_masked(float *row, size_t visible, size_t columns) {
  if (visible < columns) memset(row + visible, 0, (columns - visible) * sizeof(float));
}

CK_KERNEL void ck_causal_softmax(size_t rows, size_t columns, size_t first, float scale, float *scores, size_t lds,
                                 float *log_sum_exp, size_t ldl) {
  for (size_t m = 0; m < rows; m++) {
    float *row = scores + m * lds;
    const size_t visible = seen_by(first, m, columns), whole = visible & ~(size_t)15;

    // A NaN may or may not pass the maximum; it always reaches the sum.
    f32x16 largest = CK_SPLAT(-INFINITY), other = largest;
    size_t j = 0;
    for (; j + 32 <= visible; j += 32) {
      const f32x16 a = CK_F32X16_IN(row + j) * scale, b = CK_F32X16_IN(row + j + 16) * scale;
      const i32x16 a_is = a > largest, b_is = b > other;
      ck_select(&largest, &a_is, &a, &largest);
      ck_select(&other, &b_is, &b, &other);
    }
    for (; j < visible; j += 16) {
      f32x16 a;
      load_visible(&a, row, j, visible, columns, row[0]);
      a *= scale;
      const i32x16 is = a > largest;
      ck_select(&largest, &is, &a, &largest);
    }
    const i32x16 is = other > largest;
    ck_select(&largest, &is, &other, &largest);
    const float top = ck_max_of_lanes(&largest);

    f32x16 sums = {};
    for (j = 0; j < whole; j += 16) {
      f32x16 e = CK_F32X16_IN(row + j) * scale - top;
      ck_exp_of_nonpositive(&e);
      sums += e;
      CK_F32X16(row + j) = e;
    }
    f32x16 last = {};
    if (whole < visible) {
      f32x16 e;
      load_visible(&e, row, whole, visible, columns, row[0]);
      e = e * scale - top;
      ck_exp_of_nonpositive(&e);
      const i32x16 seen = ck_lane_index < (int32_t)(visible - whole);
      last = (f32x16)((i32x16)e & seen);
      sums += last;
    }
    const float sum = (float)ck_sum_of_lanes(&sums);
    log_sum_exp[m * ldl] = top + logf(sum);

    const float inverse = 1 / sum;
    for (j = 0; j < whole; j += 16) CK_F32X16(row + j) = CK_F32X16_IN(row + j) * inverse;
    clear_masked(row, visible, columns);
    if (whole < visible) {
      last *= inverse;
      store_visible(row, whole, visible, columns, &last);
    }
  }
}

CK_KERNEL void ck_causal_probabilities(size_t rows, size_t columns, size_t first, float scale, float *scores, size_t lds,
                                       const float *log_sum_exp, size_t ldl) {
  for (size_t m = 0; m < rows; m++) {
    float *row = scores + m * lds;
    const float shift = log_sum_exp[m * ldl];
    const size_t visible = seen_by(first, m, columns), whole = visible & ~(size_t)15;
    for (size_t j = 0; j < whole; j += 16) {
      f32x16 e = CK_F32X16_IN(row + j) * scale - shift;
      ck_exp_of_nonpositive(&e);
      CK_F32X16(row + j) = e;
    }
    f32x16 last = {};
    if (whole < visible) {
      load_visible(&last, row, whole, visible, columns, row[0]);
      last = last * scale - shift;
      ck_exp_of_nonpositive(&last);
    }
    clear_masked(row, visible, columns);
    if (whole < visible) store_visible(row, whole, visible, columns, &last);
  }
}

CK_KERNEL void ck_causal_softmax_backward(size_t rows, size_t columns, size_t first, float scale, const float *prob,
                                          size_t ldp, float *dprob, size_t lddp, const float *delta, size_t ldd) {
  for (size_t m = 0; m < rows; m++) {
    const float *p = prob + m * ldp;
    float *row = dprob + m * lddp;
    const float center = delta[m * ldd];
    const size_t visible = seen_by(first, m, columns);
    CK_VECTOR_LOOP
    for (size_t j = 0; j < visible; j++) row[j] = p[j] * (row[j] - center) * scale;
    clear_masked(row, visible, columns);
  }
}

CK_KERNEL void ck_head_dots(size_t rows, size_t heads, size_t head_width, const float *a, size_t lda, const float *b,
                            size_t ldb, float *delta, size_t lddelta) {
  for (size_t row = 0; row < rows; row++) {
    for (size_t h = 0; h < heads; h++) {
      const float *x = a + row * lda + h * head_width, *y = b + row * ldb + h * head_width;
      double sum = 0;
      size_t j = 0;
      // Float lanes for at most 16 terms each, then double: heads are narrow, one round is the rule.
      while (j + 16 <= head_width) {
        const size_t end = head_width - j < 256 ? head_width : j + 256;
        f32x16 lanes = {};
        for (; j + 16 <= end; j += 16) lanes += CK_F32X16_IN(x + j) * CK_F32X16_IN(y + j);
        sum += ck_sum_of_lanes(&lanes);
      }
      for (; j < head_width; j++) sum += (double)x[j] * (double)y[j];
      delta[row * lddelta + h] = (float)sum;
    }
  }
}
