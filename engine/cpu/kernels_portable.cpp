#define DECANT_LANES 4
#define DECANT_TABLE kernels_portable
#include "engine/cpu/kernels.inc"
