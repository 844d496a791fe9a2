#define DECANT_LANES 16
#define DECANT_TABLE kernels_avx512
#include "engine/cpu/kernels.inc"
