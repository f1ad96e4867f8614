// OpenBLAS before 0.3.25 takes an Intel processor that is younger than itself for a Prescott of 2004 (its issue 4267, mended
// in 4268) and then uses a sixth of it: 20 GFLOP/s a core instead of 120, on an Emerald Rapids with Debian 12's 0.3.21.
// It can be told better by OPENBLAS_CORETYPE, which it reads when it is loaded, and again when it is made to choose anew.
//
// Done before main, since no thread may be in OpenBLAS meanwhile. Its functions are weak here: a program without OpenBLAS,
// or one with a build of it that has nothing to choose from, is left alone; so is a choice that the user has made.
#if defined(__x86_64__) && defined(__linux__)
#include <stdlib.h>
#include <string.h>

extern const char *openblas_get_corename(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));
extern void gotoblas_dynamic_init(void) __attribute__((weak));

__attribute__((constructor)) static void choose_openblas_kernels(void) {
  static const char *const without_avx2[] = {"Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Sandybridge", "Atom"};
  if (!openblas_get_corename || !gotoblas_dynamic_quit || !gotoblas_dynamic_init || getenv("OPENBLAS_CORETYPE")) return;
  const char *chosen = openblas_get_corename();
  int is_old = 0;
  for (size_t i = 0; i < sizeof without_avx2 / sizeof *without_avx2; i++) is_old |= strcmp(chosen, without_avx2[i]) == 0;
  __builtin_cpu_init();
  if (!is_old || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return;
  const int has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  setenv("OPENBLAS_CORETYPE", has_avx512 ? "SkylakeX" : "Haswell", 1);
  gotoblas_dynamic_quit();
  gotoblas_dynamic_init();
  unsetenv("OPENBLAS_CORETYPE");
}
#endif
