// Convolution, the second rung: as a product of matrices of which the second is never written.
//
//   y (O, N oh ow) = weight (O, C kh kw) cols (C kh kw, N oh ow)
//
// A column of cols is what one window sees. A block computes a tile of 32 x 64 of the product from
// pieces of both matrices, 16 deep, in shared memory; it gathers its piece of cols from x as it goes.
// Of the 16 (32 + 64) numbers of a piece a weight serves 64 products and a pixel 32, where the first
// rung (kernels/conv2d.cu) reads two numbers for each: global memory gives 1/43 of the numbers. A
// thread keeps 2 x 4 sums in registers, so that 6 numbers from shared memory serve 8 products; against
// two a product from the caches that is about a third. With fewer output channels than 32 the rest of
// the tile is wasted: the engine takes this rung from 16 on.

#include "shapes.h"

constexpr int CHANNELS = 32, PIXELS = 64, DEPTH = 16;

extern "C" __global__ void conv2d_forward_implicit_gemm(
    const float* x, const float* weight, const float* bias, float* y, Windows s)
{
    __shared__ float weights[DEPTH][CHANNELS + 1]; // one more, or its columns share a bank
    __shared__ float cols[DEPTH][PIXELS];
    int pixels = s.oh * s.ow, taps = s.kh * s.kw, depth = s.c * taps;
    int across = (s.n * pixels + PIXELS - 1) / PIXELS;
    int first_o = blockIdx.x / across * CHANNELS, first_p = blockIdx.x % across * PIXELS;
    // The window whose column this thread gathers, every fourth number of it.
    int lane = threadIdx.x % PIXELS, p = first_p + lane;
    int n = p / pixels;
    int top = p % pixels / s.ow * s.stride_h - s.padding_h;
    int left = p % s.ow * s.stride_w - s.padding_w;
    // The sums of two channels and four pixels.
    int down = threadIdx.x / 16 * 2, along = threadIdx.x % 16;
    float sums[2][4] = {};
    for (int from = 0; from < depth; from += DEPTH) {
        // The piece before may still be read.
        __syncthreads();
        for (int k = threadIdx.x / PIXELS; k < DEPTH; k += 256 / PIXELS) {
            int place = from + k, tap = place % taps;
            int row = top + tap / s.kw, column = left + tap % s.kw;
            bool inside = n < s.n && place < depth
                && row >= 0 && row < s.h && column >= 0 && column < s.w;
            cols[k][lane] = inside ? x[((n * s.c + place / taps) * s.h + row) * s.w + column] : 0;
        }
        for (int place = threadIdx.x; place < CHANNELS * DEPTH; place += 256) {
            int o = place / DEPTH, k = place % DEPTH;
            bool inside = first_o + o < s.o && from + k < depth;
            weights[k][o] = inside ? weight[(first_o + o) * depth + from + k] : 0;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++)
            for (int a = 0; a < 2; a++)
                for (int b = 0; b < 4; b++)
                    sums[a][b] += weights[k][down + a] * cols[k][along + 16 * b];
    }
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 4; b++) {
            int o = first_o + down + a, place = first_p + along + 16 * b;
            if (o >= s.o || place >= s.n * pixels) continue;
            y[(place / pixels * s.o + o) * pixels + place % pixels] = bias[o] + sums[a][b];
        }
}
