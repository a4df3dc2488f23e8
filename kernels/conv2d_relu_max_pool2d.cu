// Convolution of stride 1, ReLU and max-pool in one kernel, forward and back, as the three follow each
// other: what lies between them never leaves a block's shared memory. What is kept for the way back is
// the winner of each window: the pixel of the convolution's plane that was its maximum, or -1 where
// ReLU stopped it. Pooling first gives the same, and asks ReLU of a quarter of the numbers.
//
// `s` are the convolution's sizes, `p` the pooling's, whose x is the convolution's y.
// x: (N, C, H, W), weight: (O, C, kh, kw), bias: (O), y and winners: (N, O, p.oh, p.ow).

#include "pooling.h"
#include "shared.h"

// What lies at one pixel of a plane with a border, under windows of K x K; 0 stands for any size. A
// size that is known lets the compiler unroll the loops.
template <int K>
__device__ float correlate(
    const float* planes, const float* weights, int channels, Windows s, int area, int width)
{
    int kh = K ? K : s.kh, kw = K ? K : s.kw;
    float sum = 0;
    for (int c = 0; c < channels; c++, planes += area, weights += kh * kw)
#pragma unroll
        for (int a = 0; a < kh; a++)
#pragma unroll
            for (int b = 0; b < kw; b++) sum += weights[a * kw + b] * planes[a * width + b];
    return sum;
}

__device__ float correlate_any(
    const float* planes, const float* weights, int channels, Windows s, int area, int width)
{
    if (s.kh == 5 && s.kw == 5) return correlate<5>(planes, weights, channels, s, area, width);
    if (s.kh == 3 && s.kw == 3) return correlate<3>(planes, weights, channels, s, area, width);
    return correlate<0>(planes, weights, channels, s, area, width);
}

// A block computes `group` channels of y of one image, from `chunk` channels of x at a time.
extern "C" __global__ void conv2d_relu_max_pool2d_forward(
    const float* x, const float* weight, const float* bias, float* y, int* winners,
    Windows s, Windows p, int group, int chunk)
{
    int groups = (s.o + group - 1) / group;
    int n = blockIdx.x / groups, first = blockIdx.x % groups * group;
    int count = min(group, s.o - first), pixels = s.oh * s.ow, taps = s.kh * s.kw;
    // The padding is a border of zeros.
    int height = s.h + 2 * s.padding_h, width = s.w + 2 * s.padding_w, area = height * width;
    float* sums = shared;                   // (group, oh, ow)
    float* planes = sums + group * pixels;  // (chunk, height, width)
    float* weights = planes + chunk * area; // (group, chunk, kh, kw)
    for (int place = threadIdx.x; place < count * pixels; place += blockDim.x)
        sums[place] = bias[first + place / pixels];
    for (int c = 0; c < s.c; c += chunk) {
        int channels = min(chunk, s.c - c);
        // The chunk before may still be read.
        __syncthreads();
        for (int place = threadIdx.x; place < channels * area; place += blockDim.x) {
            int row = place % area / width - s.padding_h, column = place % width - s.padding_w;
            bool inside = row >= 0 && row < s.h && column >= 0 && column < s.w;
            int plane = n * s.c + c + place / area;
            planes[place] = inside ? x[(plane * s.h + row) * s.w + column] : 0;
        }
        for (int place = threadIdx.x; place < count * channels * taps; place += blockDim.x) {
            int o = place / (channels * taps), rest = place % (channels * taps);
            weights[place] = weight[((first + o) * s.c + c) * taps + rest];
        }
        __syncthreads();
        for (int place = threadIdx.x; place < count * pixels; place += blockDim.x) {
            int o = place / pixels, i = place % pixels / s.ow, j = place % s.ow;
            sums[place] += correlate_any(
                planes + i * width + j, weights + o * channels * taps, channels, s, area, width);
        }
    }
    __syncthreads();
    int windows = p.oh * p.ow;
    for (int place = threadIdx.x; place < count * windows; place += blockDim.x) {
        const float* plane = sums + place / windows * pixels;
        int best = winner(plane, p, place % windows / p.ow, place % p.ow);
        // NaN is not stopped.
        bool stopped = plane[best] <= 0;
        int index = (n * s.o + first) * windows + place;
        y[index] = stopped ? 0 : plane[best];
        winners[index] = stopped ? -1 : best;
    }
}

// The gradient by a pixel of the convolution's y: what the windows give that it has won.
__device__ float won(const float* d_y, const int* winners, Windows p, int pixel)
{
    int row = pixel / p.w + p.padding_h, column = pixel % p.w + p.padding_w;
    // The first and the last window that hold it.
    int top = row < p.kh ? 0 : (row - p.kh) / p.stride_h + 1;
    int left = column < p.kw ? 0 : (column - p.kw) / p.stride_w + 1;
    int bottom = min(row / p.stride_h, p.oh - 1), right = min(column / p.stride_w, p.ow - 1);
    float sum = 0;
    for (int i = top; i <= bottom; i++)
        for (int j = left; j <= right; j++)
            if (winners[i * p.ow + j] == pixel) sum += d_y[i * p.ow + j];
    return sum;
}

// One channel of d_x of one image, from `chunk` channels of d_y at a time. The gradients by the
// convolution's y lie in shared memory, in a border of zeros as wide as the kernel reaches; under the
// weights in reverse order they give d_x.
__device__ void backward_input(
    const float* weight, const float* d_y, const int* winners, float* d_x,
    Windows s, Windows p, int chunk, int block)
{
    int n = block / s.c, c = block % s.c;
    int windows = p.oh * p.ow, taps = s.kh * s.kw;
    int height = s.oh + 2 * (s.kh - 1), width = s.ow + 2 * (s.kw - 1), area = height * width;
    float* planes = shared;                 // (chunk, height, width)
    float* weights = planes + chunk * area; // (chunk, kh, kw), reversed
    for (int o = 0; o < s.o; o += chunk) {
        int channels = min(chunk, s.o - o);
        __syncthreads();
        for (int place = threadIdx.x; place < channels * area; place += blockDim.x) {
            int i = place % area / width - (s.kh - 1), j = place % width - (s.kw - 1);
            bool inside = i >= 0 && i < s.oh && j >= 0 && j < s.ow;
            int plane = (n * s.o + o + place / area) * windows;
            planes[place] = inside ? won(d_y + plane, winners + plane, p, i * s.ow + j) : 0;
        }
        for (int place = threadIdx.x; place < channels * taps; place += blockDim.x) {
            int channel = o + place / taps, tap = place % taps;
            weights[place] = weight[(channel * s.c + c) * taps + taps - 1 - tap];
        }
        __syncthreads();
        for (int pixel = threadIdx.x; pixel < s.h * s.w; pixel += blockDim.x) {
            int row = pixel / s.w + s.padding_h, column = pixel % s.w + s.padding_w;
            float sum = correlate_any(
                planes + row * width + column, weights, channels, s, area, width);
            float* to = d_x + (n * s.c + c) * s.h * s.w + pixel;
            *to = o == 0 ? sum : *to + sum;
        }
    }
}

// The gradients by the weights between channel c and channel o, and with c = 0 by o's bias, summed
// over a slice of the images: only winners count. The threads are (segment, tap), the bias being one
// more tap; a segment takes every so manieth winner. The last of the slices to be done adds all of
// them up, in their order, so that the bits are the same from run to run.
//
// partial: (O C, slices, taps + 1); tickets: (O C), all 0, and 0 again at the end.
__device__ void backward_weight(
    const float* x, const float* d_y, const int* winners, float* d_weight, float* d_bias,
    float* partial, unsigned* tickets, Windows s, Windows p, int slices, int block)
{
    int pair = block / slices, slice = block % slices;
    int o = pair / s.c, c = pair % s.c, taps = s.kh * s.kw, windows = p.oh * p.ow;
    int wide = taps + (c == 0), segments = blockDim.x / wide;
    int tap = threadIdx.x % wide, segment = threadIdx.x / wide;
    int begin = s.n * slice / slices * windows, end = s.n * (slice + 1) / slices * windows;
    float sum = 0;
    if (segment < segments)
        for (int place = begin + segment; place < end; place += segments) {
            int n = place / windows, index = (n * s.o + o) * windows + place % windows;
            int pixel = winners[index];
            if (pixel < 0) continue;
            int row = pixel / s.ow + tap / s.kw - s.padding_h;
            int column = pixel % s.ow + tap % s.kw - s.padding_w;
            if (tap == taps)
                sum += d_y[index];
            else if (row >= 0 && row < s.h && column >= 0 && column < s.w)
                sum += d_y[index] * x[((n * s.c + c) * s.h + row) * s.w + column];
        }
    shared[threadIdx.x] = sum;
    __syncthreads();
    partial += (long long)pair * slices * (taps + 1);
    if (segment == 0) {
        for (int other = 1; other < segments; other++) sum += shared[other * wide + tap];
        partial[slice * (taps + 1) + tap] = sum;
    }
    // What was written is seen before the ticket is.
    __threadfence();
    __syncthreads();
    __shared__ bool last;
    if (threadIdx.x == 0) last = atomicAdd(&tickets[pair], 1) + 1 == (unsigned)slices;
    __syncthreads();
    if (!last) return;
    __threadfence();
    if (threadIdx.x == 0) tickets[pair] = 0;
    if (segment != 0) return;
    sum = 0;
    for (int other = 0; other < slices; other++) sum += __ldcg(&partial[other * (taps + 1) + tap]);
    if (tap == taps)
        d_bias[o] = sum;
    else
        d_weight[pair * taps + tap] = sum;
}

// All gradients in one launch: the first `inputs` blocks, N C or 0, each compute a channel of d_x, the
// others, O C slices, those of the parameters. None of them needs another.
extern "C" __global__ void conv2d_relu_max_pool2d_backward(
    const float* x, const float* weight, const float* d_y, const int* winners,
    float* d_x, float* d_weight, float* d_bias, float* partial, unsigned* tickets,
    Windows s, Windows p, int slices, int chunk, int inputs)
{
    int block = blockIdx.x;
    if (block < inputs)
        backward_input(weight, d_y, winners, d_x, s, p, chunk, block);
    else
        backward_weight(x, d_y, winners, d_weight, d_bias, partial, tickets, s, p, slices, block - inputs);
}
