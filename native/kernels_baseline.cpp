#define CTCKIT_ISA baseline
#define CTCKIT_ISA_TITLE "baseline"
#include "kernels.inl"
