#define CTCKIT_ISA avx2
#define CTCKIT_ISA_TITLE "avx2"
#include "decoding/kernels.inl"
