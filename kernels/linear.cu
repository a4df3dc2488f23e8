// A linear layer, the first rung: y = x weight^T + bias, a thread a number.
// x: (N, I), weight: (O, I), bias: (O), y: (N, O). The formula: src/layers/linear/mod.rs.

#include "shapes.h"

extern "C" __global__ void linear_forward(
    const float* x, const float* weight, const float* bias, float* y, Linear s)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= s.n * s.o) return;
    int o = index % s.o, n = index / s.o;
    float sum = bias[o];
    for (int i = 0; i < s.i; i++) sum += weight[o * s.i + i] * x[n * s.i + i];
    y[index] = sum;
}

// d_x = d_y weight
extern "C" __global__ void linear_backward_input(
    const float* weight, const float* d_y, float* d_x, Linear s)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= s.n * s.i) return;
    int i = index % s.i, n = index / s.i;
    float sum = 0;
    for (int o = 0; o < s.o; o++) sum += weight[o * s.i + i] * d_y[n * s.o + o];
    d_x[index] = sum;
}

// d_weight = d_y^T x
extern "C" __global__ void linear_backward_weight(
    const float* x, const float* d_y, float* d_weight, Linear s)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= s.o * s.i) return;
    int i = index % s.i, o = index / s.i;
    float sum = 0;
    for (int n = 0; n < s.n; n++) sum += d_y[n * s.o + o] * x[n * s.i + i];
    d_weight[index] = sum;
}

extern "C" __global__ void linear_backward_bias(const float* d_y, float* d_bias, Linear s)
{
    int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= s.o) return;
    float sum = 0;
    for (int n = 0; n < s.n; n++) sum += d_y[n * s.o + o];
    d_bias[o] = sum;
}
