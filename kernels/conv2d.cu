// Convolution, the first rung: a thread computes one number, by the formula, and reads all that it
// needs from global memory. What it costs is reading: each multiply-add takes two numbers, of which
// a neighbour has just read one.
//
//   y[n,o,i,j] = bias[o] + sum over c,a,b of weight[o,c,a,b] x[n,c,i s + a - p,j s + b - p]
//
// weight: (O, C, kh, kw), bias: (O). The formula and its gradients: src/layers/conv2d/mod.rs.

#include "shapes.h"
#include "sums.h"

// A thread a number of y.
extern "C" __global__ void conv2d_forward(
    const float* x, const float* weight, const float* bias, float* y, Windows s)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= s.n * s.o * s.oh * s.ow) return;
    int j = index % s.ow;
    int i = index / s.ow % s.oh;
    int o = index / (s.ow * s.oh) % s.o;
    int n = index / (s.ow * s.oh * s.o);
    float sum = bias[o];
    for (int c = 0; c < s.c; c++)
        for (int a = 0; a < s.kh; a++) {
            int row = i * s.stride_h + a - s.padding_h;
            if (row < 0 || row >= s.h) continue;
            for (int b = 0; b < s.kw; b++) {
                int column = j * s.stride_w + b - s.padding_w;
                if (column < 0 || column >= s.w) continue;
                float tap = weight[((o * s.c + c) * s.kh + a) * s.kw + b];
                sum += tap * x[((n * s.c + c) * s.h + row) * s.w + column];
            }
        }
    y[index] = sum;
}

// A thread a number of d_x: the sum over all windows that its pixel was in.
extern "C" __global__ void conv2d_backward_input(
    const float* weight, const float* d_y, float* d_x, Windows s)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= s.n * s.c * s.h * s.w) return;
    int column = index % s.w;
    int row = index / s.w % s.h;
    int c = index / (s.w * s.h) % s.c;
    int n = index / (s.w * s.h * s.c);
    float sum = 0;
    for (int o = 0; o < s.o; o++)
        for (int a = 0; a < s.kh; a++) {
            int down = row + s.padding_h - a;
            if (down < 0 || down % s.stride_h || down / s.stride_h >= s.oh) continue;
            for (int b = 0; b < s.kw; b++) {
                int across = column + s.padding_w - b;
                if (across < 0 || across % s.stride_w || across / s.stride_w >= s.ow) continue;
                float tap = weight[((o * s.c + c) * s.kh + a) * s.kw + b];
                int place = ((n * s.o + o) * s.oh + down / s.stride_h) * s.ow + across / s.stride_w;
                sum += tap * d_y[place];
            }
        }
    d_x[index] = sum;
}

// A block a number of d_weight, (O, C, kh, kw): its threads share the images' output pixels out,
// and their sums are added in one order, so that the bits are the same from run to run.
extern "C" __global__ void conv2d_backward_weight(
    const float* x, const float* d_y, float* d_weight, Windows s)
{
    int b = blockIdx.x % s.kw;
    int a = blockIdx.x / s.kw % s.kh;
    int c = blockIdx.x / (s.kw * s.kh) % s.c;
    int o = blockIdx.x / (s.kw * s.kh * s.c);
    float sum = 0;
    for (int place = threadIdx.x; place < s.n * s.oh * s.ow; place += blockDim.x) {
        int j = place % s.ow;
        int i = place / s.ow % s.oh;
        int n = place / (s.ow * s.oh);
        int row = i * s.stride_h + a - s.padding_h;
        int column = j * s.stride_w + b - s.padding_w;
        if (row < 0 || row >= s.h || column < 0 || column >= s.w) continue;
        sum += x[((n * s.c + c) * s.h + row) * s.w + column]
            * d_y[((n * s.o + o) * s.oh + i) * s.ow + j];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) d_weight[blockIdx.x] = sum;
}

// A block a number of d_bias, (O), likewise.
extern "C" __global__ void conv2d_backward_bias(const float* d_y, float* d_bias, Windows s)
{
    int o = blockIdx.x;
    float sum = 0;
    for (int place = threadIdx.x; place < s.n * s.oh * s.ow; place += blockDim.x) {
        int pixel = place % (s.ow * s.oh);
        int n = place / (s.ow * s.oh);
        sum += d_y[(n * s.o + o) * s.oh * s.ow + pixel];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) d_bias[o] = sum;
}
