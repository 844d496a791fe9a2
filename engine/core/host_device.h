#pragma once

// HOST_DEVICE marks a function that both devices compile: arithmetic that is written once.
#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__
#else
#define HOST_DEVICE
#endif
