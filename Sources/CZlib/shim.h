// The C interface of zlib, for Swift. Nothing else belongs here.
#if __has_include(<zlib.h>)
#include <zlib.h>
#else
#error "zlib is missing: apt-get install zlib1g-dev"
#endif
