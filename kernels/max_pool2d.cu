// Maximum pooling. A tie belongs to the first maximum, NaN wins, padding is never the maximum:
// src/layers/max_pool2d/mod.rs. x: (N, C, H, W), y: (N, C, oh, ow).

#include "shapes.h"

// The pixel of x, counted in its plane, that is the maximum of the window (i, j).
__device__ int winner(const float* plane, Windows s, int i, int j)
{
    int best = -1;
    for (int a = 0; a < s.kh; a++) {
        int row = i * s.stride_h + a - s.padding_h;
        if (row < 0 || row >= s.h) continue;
        for (int b = 0; b < s.kw; b++) {
            int column = j * s.stride_w + b - s.padding_w;
            if (column < 0 || column >= s.w) continue;
            int pixel = row * s.w + column;
            bool wins = best < 0 || plane[pixel] > plane[best]
                || (plane[pixel] != plane[pixel] && plane[best] == plane[best]);
            if (wins) best = pixel;
        }
    }
    return best;
}

// A thread a number of y.
extern "C" __global__ void max_pool2d_forward(const float* x, float* y, Windows s)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= s.n * s.c * s.oh * s.ow) return;
    int j = index % s.ow;
    int i = index / s.ow % s.oh;
    const float* plane = x + index / (s.ow * s.oh) * s.h * s.w;
    y[index] = plane[winner(plane, s, i, j)];
}

// A thread a number of d_x: the sum over the windows that its pixel has won, in their order, so
// that overlapping windows need no atomics.
extern "C" __global__ void max_pool2d_backward(
    const float* x, const float* d_y, float* d_x, Windows s)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= s.n * s.c * s.h * s.w) return;
    int pixel = index % (s.h * s.w);
    int image = index / (s.h * s.w);
    int row = pixel / s.w, column = pixel % s.w;
    const float* plane = x + image * s.h * s.w;
    float sum = 0;
    for (int i = 0; i < s.oh; i++) {
        int a = row + s.padding_h - i * s.stride_h;
        if (a < 0 || a >= s.kh) continue;
        for (int j = 0; j < s.ow; j++) {
            int b = column + s.padding_w - j * s.stride_w;
            if (b < 0 || b >= s.kw) continue;
            if (winner(plane, s, i, j) == pixel) sum += d_y[(image * s.oh + i) * s.ow + j];
        }
    }
    d_x[index] = sum;
}
