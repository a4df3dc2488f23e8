// Maximum pooling. x: (N, C, H, W), y: (N, C, oh, ow).

#include "pooling.h"

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
