#define DECANT_LANES 8
#define DECANT_TABLE kernels_avx2
#include "engine/cpu/kernels.inc"
