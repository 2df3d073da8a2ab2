#define CTCKIT_ISA avx512
#define CTCKIT_ISA_TITLE "avx512"
#include "decoding/kernels.inl"
