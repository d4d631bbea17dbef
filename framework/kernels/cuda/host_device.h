// Arithmetic that the CPU and the GPU share. Every step is rounded on its own: -ffp-contract=off
// for the one, -fmad=false for the other.
#pragma once

#ifdef __CUDACC__
#define QUELL_HOST_DEVICE __host__ __device__ inline
#else
#define QUELL_HOST_DEVICE inline
#endif
