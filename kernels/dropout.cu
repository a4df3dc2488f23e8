// Dropout, the same elements as on the CPU.

#include "philox.h"
#include "step.h"

// to = m from / (1 - p), for x and y as for d_y and d_x: (N, elements).
extern "C" __global__ void dropout_mask(
    const float* from, float* to, int count, int elements, float scale, unsigned threshold,
    unsigned long long seed, const Progress* progress, unsigned layer)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    unsigned step = progress->present.done;
    bool drop = dropped(index / elements, index % elements, elements, threshold, seed, step, layer);
    to[index] = drop ? 0 : scale * from[index];
}
