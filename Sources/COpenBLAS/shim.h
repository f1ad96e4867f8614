// The C interface of OpenBLAS, for Swift. Nothing else belongs here.
#if __has_include(<cblas.h>)
#include <cblas.h>
#else
#error "OpenBLAS is missing: apt-get install libopenblas-dev"
#endif
