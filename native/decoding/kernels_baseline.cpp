#define CTCKIT_ISA baseline
#define CTCKIT_ISA_TITLE "baseline"
#include "decoding/kernels.inl"
