#include "lanes.h"

CK_KERNEL void ck_adamw(size_t n, float *parameters, const float *gradient, float gradient_scale, float *m, float *v,
                        float lr, float beta1, float beta2, float epsilon, float decay, float c1, float c2) {
  const float rest1 = 1 - beta1, rest2 = 1 - beta2, shrink = lr * decay, step = lr * c1;
  CK_VECTOR_LOOP
  for (size_t i = 0; i < n; i++) {
    const float g = gradient_scale * gradient[i];
    const float first = beta1 * m[i] + rest1 * g, second = beta2 * v[i] + rest2 * (g * g);
    m[i] = first;
    v[i] = second;
    // The decay is added to the step, not folded into a factor 1 - lr * decay, which would round it away.
    parameters[i] -= shrink * parameters[i] + step * first / (__builtin_elementwise_sqrt(second * c2) + epsilon);
  }
}

CK_KERNEL void ck_sgd(size_t n, float *parameters, const float *gradient, float gradient_scale, float *velocity, float lr,
                      float momentum, float decay) {
  if (velocity) {
    CK_VECTOR_LOOP
    for (size_t i = 0; i < n; i++) {
      const float g = gradient_scale * gradient[i] + decay * parameters[i];
      const float u = momentum * velocity[i] + g;
      velocity[i] = u;
      parameters[i] -= lr * u;
    }
  } else {
    CK_VECTOR_LOOP
    for (size_t i = 0; i < n; i++) {
      const float g = gradient_scale * gradient[i] + decay * parameters[i];
      parameters[i] -= lr * g;
    }
  }
}
