// The memory that a launch gives to each block: as many bytes as it says.
#pragma once

#ifdef __CUDACC__
extern __shared__ __align__(16) float shared[];
#else
// On the CPU, for the tests.
extern float* shared;
#endif
