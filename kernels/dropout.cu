// Dropout: what is dropped is a function of seed, step, layer, example and element, the same as on
// the CPU (src/random.rs, src/layers/dropout/mod.rs).

#include "step.h"

// Ten rounds of Philox4x32 (Salmon, Moraes, Dror, Shaw, SC 2011); gives one of the four words.
__device__ unsigned philox(
    unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned k0, unsigned k1, int word)
{
    for (int round = 0; round < 10; round++) {
        unsigned long long first = 0xD2511F53ull * c0, second = 0xCD9E8D57ull * c2;
        c0 = (unsigned)(second >> 32) ^ c1 ^ k0;
        c1 = (unsigned)second;
        c2 = (unsigned)(first >> 32) ^ c3 ^ k1;
        c3 = (unsigned)first;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
}

// to = m from / (1 - p), for x and y as for d_y and d_x: (N, elements). Element e of example n takes
// word e mod 4 of the draw n ceil(elements / 4) + e / 4. `behind` is 1 where the loss is known, else 0:
// see Progress.
extern "C" __global__ void dropout_mask(
    const float* from, float* to, int count, int elements, float scale, unsigned threshold,
    unsigned long long seed, const Step* steps, const Progress* progress, int behind, unsigned layer)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    int n = index / elements, e = index % elements;
    unsigned long long draw = (unsigned long long)n * ((elements + 3) / 4) + e / 4;
    unsigned step = steps[progress->steps - behind].done;
    // The purpose, 4, is the lowest byte beside the layer.
    unsigned word = philox((unsigned)draw, (unsigned)(draw >> 32), step, 4u | layer << 8,
        (unsigned)seed, (unsigned)(seed >> 32), e % 4);
    to[index] = word < threshold ? 0 : scale * from[index];
}
