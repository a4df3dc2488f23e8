// A linear layer: y = x weight^T + bias. x: (N, I), weight: (O, I), bias: (O), y: (N, O).
// The formula: src/layers/linear/mod.rs.

#include "shapes.h"
#include "sums.h"

// A warp a number of y: neighbours read neighbours of a row of x and of a row of weight. Blocks have
// whole warps.
extern "C" __global__ void linear_forward(
    const float* x, const float* weight, const float* bias, float* y, Linear s)
{
    int index = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
    if (index >= s.n * s.o) return;
    int o = index % s.o, n = index / s.o;
    float sum = 0;
    for (int i = threadIdx.x % 32; i < s.i; i += 32) sum += weight[o * s.i + i] * x[n * s.i + i];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) y[index] = sum + bias[o];
}

// All gradients in one launch, a thread a number: none of them needs another.
//
//   d_weight = d_y^T x    d_bias = sum over n of d_y    d_x = d_y weight
//
// The threads are those of d_weight, (O, I), then d_bias, (O), then `inputs` of d_x, (N, I), or 0.
extern "C" __global__ void linear_backward(
    const float* x, const float* weight, const float* d_y,
    float* d_x, float* d_weight, float* d_bias, Linear s, int inputs)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = 0;
    if (index < s.o * s.i) {
        int i = index % s.i, o = index / s.i;
        for (int n = 0; n < s.n; n++) sum += d_y[n * s.o + o] * x[n * s.i + i];
        d_weight[index] = sum;
        return;
    }
    index -= s.o * s.i;
    if (index < s.o) {
        for (int n = 0; n < s.n; n++) sum += d_y[n * s.o + index];
        d_bias[index] = sum;
        return;
    }
    index -= s.o;
    if (index >= inputs) return;
    int i = index % s.i, n = index / s.i;
    for (int o = 0; o < s.o; o++) sum += weight[o * s.i + i] * d_y[n * s.o + o];
    d_x[index] = sum;
}
