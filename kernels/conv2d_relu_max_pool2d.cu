// Convolution of stride 1, ReLU and max-pool in one kernel, forward and back, as the three follow each
// other: what lies between them never leaves a block's shared memory. What is kept for the way back is
// the winner of each window: the pixel of the convolution's plane that was its maximum, or -1 where
// ReLU stopped it. Pooling first gives the same, and asks ReLU of a quarter of the numbers.
//
// Against three kernels the convolution's y, four times as large as the pooled one, is not written and
// read twice over: 2.9 MB a step of the tutorial's first convolution at batch 32; and two launches
// forward and three or four back are gone, which there count for more. Against the first rung a tile of
// 2 x 2 windows of 5 x 5 needs 61 numbers from shared memory for 100 multiply-adds, not 200 from the
// caches. Back, only one pixel a window has a gradient: the weights' takes a quarter of the operations
// of the definition. Not measured yet.
//
// `s` are the convolution's sizes, `p` the pooling's, whose x is the convolution's y.
// x: (N, C, H, W), weight: (O, C, kh, kw), bias: (O), y and winners: (N, O, p.oh, p.ow).

#include "pooling.h"
#include "shared.h"

// A plane in shared memory, under windows of kh x kw, each thread with a tile of 2 x 2 of them: of the
// (kh + 1)(kw + 1) numbers that the tile needs it uses each up to four times, and each weight four
// times. Planes are as large as whole tiles need.
struct Plane {
    int kh, kw, rows, columns, width, area;
};

__device__ Plane plane_of(int kh, int kw, int height, int width)
{
    Plane plane;
    plane.kh = kh;
    plane.kw = kw;
    plane.rows = (height + 1) / 2;
    plane.columns = (width + 1) / 2;
    plane.width = 2 * plane.columns + kw - 1;
    plane.area = (2 * plane.rows + kh - 1) * plane.width;
    return plane;
}

// Adds to the four sums of a tile. Its numbers come two at a time, or neighbours, two apart, would
// want the same banks: for odd K each row begins at an even place.
template <int K>
__device__ void correlate(const float* from, const float* weights, int width, float* sums)
{
    static_assert(K % 2 == 1, "rows must begin at even places");
#pragma unroll
    for (int row = 0; row <= K; row++) {
        float x[K + 1];
#pragma unroll
        for (int pair = 0; pair <= K / 2; pair++) {
            float2 two = ((const float2*)(from + row * width))[pair];
            x[2 * pair] = two.x;
            x[2 * pair + 1] = two.y;
        }
#pragma unroll
        for (int b = 0; b < K; b++) {
            if (row < K) {
                sums[0] += weights[row * K + b] * x[b];
                sums[1] += weights[row * K + b] * x[b + 1];
            }
            if (row > 0) {
                sums[2] += weights[(row - 1) * K + b] * x[b];
                sums[3] += weights[(row - 1) * K + b] * x[b + 1];
            }
        }
    }
}

// The same for any window.
__device__ void correlate_any(const float* from, const float* weights, Plane plane, float* sums)
{
    if (plane.kh == 5 && plane.kw == 5) return correlate<5>(from, weights, plane.width, sums);
    if (plane.kh == 3 && plane.kw == 3) return correlate<3>(from, weights, plane.width, sums);
    for (int a = 0; a < plane.kh; a++)
        for (int b = 0; b < plane.kw; b++) {
            float weight = weights[a * plane.kw + b];
            const float* x = from + a * plane.width + b;
            sums[0] += weight * x[0];
            sums[1] += weight * x[1];
            sums[2] += weight * x[plane.width];
            sums[3] += weight * x[plane.width + 1];
        }
}

// How many threads share the channels of each of `items` tiles out.
__device__ int slices_of(int items)
{
    return max(1, (int)blockDim.x / items);
}

// Adds what `channels` planes give to the tiles of `outputs` output channels, the threads being
// (slice, output, tile): a slice takes every so manieth channel. The first chunk is not added to
// anything.
//
// planes: (channels, area), weights: (outputs, channels, kh, kw), parts: (slices, outputs, tiles, 4)
__device__ void correlate_tiles(
    const float* planes, const float* weights, Plane plane, int channels, int outputs, bool first,
    float* parts)
{
    int tiles = plane.rows * plane.columns, items = outputs * tiles, slices = slices_of(items);
    int taps = plane.kh * plane.kw;
    for (int place = threadIdx.x; place < items * slices; place += blockDim.x) {
        int slice = place / items, output = place % items / tiles, tile = place % tiles;
        const float* from = planes
            + tile / plane.columns * 2 * plane.width + tile % plane.columns * 2;
        float sums[4] = {0, 0, 0, 0};
        for (int c = slice; c < channels; c += slices)
            correlate_any(from + c * plane.area, weights + (output * channels + c) * taps, plane, sums);
        for (int k = 0; k < 4; k++) parts[4 * place + k] = first ? sums[k] : parts[4 * place + k] + sums[k];
    }
}

// What the slices give together at a pixel of an output.
__device__ float sum_of_slices(const float* parts, Plane plane, int outputs, int output, int i, int j)
{
    int tiles = plane.rows * plane.columns, items = outputs * tiles, slices = slices_of(items);
    int item = output * tiles + i / 2 * plane.columns + j / 2;
    float sum = 0;
    for (int slice = 0; slice < slices; slice++)
        sum += parts[4 * (slice * items + item) + i % 2 * 2 + j % 2];
    return sum;
}

// A block computes `group` channels of y of one image, from `chunk` channels of x at a time.
extern "C" __global__ void conv2d_relu_max_pool2d_forward(
    const float* x, const float* weight, const float* bias, float* y, int* winners,
    Windows s, Windows p, int group, int chunk)
{
    int groups = (s.o + group - 1) / group;
    int n = blockIdx.x / groups, first = blockIdx.x % groups * group;
    int count = min(group, s.o - first), pixels = s.oh * s.ow, taps = s.kh * s.kw;
    Plane plane = plane_of(s.kh, s.kw, s.oh, s.ow);
    float* planes = shared;                        // (chunk, area)
    float* weights = planes + chunk * plane.area;  // (group, chunk, kh, kw)
    float* sums = weights + group * chunk * taps;  // (group, oh, ow)
    float* parts = sums + group * pixels;          // (slices, group, tiles, 4)
    for (int c = 0; c < s.c; c += chunk) {
        int channels = min(chunk, s.c - c);
        // The chunk before may still be read.
        __syncthreads();
        for (int place = threadIdx.x; place < channels * plane.area; place += blockDim.x) {
            int row = place % plane.area / plane.width - s.padding_h;
            int column = place % plane.area % plane.width - s.padding_w;
            bool inside = row >= 0 && row < s.h && column >= 0 && column < s.w;
            int image = n * s.c + c + place / plane.area;
            planes[place] = inside ? x[(image * s.h + row) * s.w + column] : 0;
        }
        for (int place = threadIdx.x; place < count * channels * taps; place += blockDim.x) {
            int o = place / (channels * taps), rest = place % (channels * taps);
            weights[place] = weight[((first + o) * s.c + c) * taps + rest];
        }
        __syncthreads();
        correlate_tiles(planes, weights, plane, channels, count, c == 0, parts);
    }
    __syncthreads();
    for (int place = threadIdx.x; place < count * pixels; place += blockDim.x) {
        int o = place / pixels, i = place % pixels / s.ow, j = place % s.ow;
        sums[place] = bias[first + o] + sum_of_slices(parts, plane, count, o, i, j);
    }
    __syncthreads();
    int windows = p.oh * p.ow;
    for (int place = threadIdx.x; place < count * windows; place += blockDim.x) {
        const float* of = sums + place / windows * pixels;
        int best = winner(of, p, place % windows / p.ow, place % p.ow);
        // NaN is not stopped.
        bool stopped = of[best] <= 0;
        int index = (n * s.o + first) * windows + place;
        y[index] = stopped ? 0 : of[best];
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
    Plane plane = plane_of(s.kh, s.kw, s.h, s.w);
    // The plane's place of the first of the convolution's pixels.
    int down = s.kh - 1 - s.padding_h, across = s.kw - 1 - s.padding_w;
    bool overlap = p.stride_h < p.kh || p.stride_w < p.kw;
    float* planes = shared;                       // (chunk, area)
    float* weights = planes + chunk * plane.area; // (chunk, kh, kw), reversed
    float* parts = weights + chunk * taps;        // (slices, tiles, 4)
    for (int o = 0; o < s.o; o += chunk) {
        int channels = min(chunk, s.o - o);
        __syncthreads();
        for (int place = threadIdx.x; place < channels * plane.area; place += blockDim.x) {
            if (!overlap) {
                planes[place] = 0;
                continue;
            }
            int i = place % plane.area / plane.width - down;
            int j = place % plane.area % plane.width - across;
            bool inside = i >= 0 && i < s.oh && j >= 0 && j < s.ow;
            int first = (n * s.o + o + place / plane.area) * windows;
            planes[place] = inside ? won(d_y + first, winners + first, p, i * s.ow + j) : 0;
        }
        for (int place = threadIdx.x; place < channels * taps; place += blockDim.x) {
            int channel = o + place / taps, tap = place % taps;
            weights[place] = weight[(channel * s.c + c) * taps + taps - 1 - tap];
        }
        __syncthreads();
        if (!overlap) {
            // Each pixel is in one window, which brings its gradient.
            for (int place = threadIdx.x; place < channels * windows; place += blockDim.x) {
                int index = (n * s.o + o) * windows + place, pixel = winners[index];
                int i = pixel / s.ow + down, j = pixel % s.ow + across;
                // A border that is wider than the kernel reaches hides pixels.
                bool inside = pixel >= 0 && i >= 0 && i < plane.area / plane.width
                    && j >= 0 && j < plane.width;
                if (inside) planes[place / windows * plane.area + i * plane.width + j] = d_y[index];
            }
            __syncthreads();
        }
        correlate_tiles(planes, weights, plane, channels, 1, o == 0, parts);
    }
    __syncthreads();
    for (int pixel = threadIdx.x; pixel < s.h * s.w; pixel += blockDim.x) {
        float* to = d_x + (n * s.c + c) * s.h * s.w + pixel;
        *to = sum_of_slices(parts, plane, 1, 0, pixel / s.w, pixel % s.w);
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
        // Nothing is skipped, so that the loads of several winners are on their way together.
#pragma unroll 8
        for (int place = begin + segment; place < end; place += segments) {
            int n = place / windows, index = (n * s.o + o) * windows + place % windows;
            int pixel = winners[index];
            int row = pixel / s.ow + tap / s.kw - s.padding_h;
            int column = pixel % s.ow + tap % s.kw - s.padding_w;
            bool inside = pixel >= 0 && tap < taps
                && row >= 0 && row < s.h && column >= 0 && column < s.w;
            float with = inside ? x[((n * s.c + c) * s.h + row) * s.w + column] : 0;
            if (tap == taps) with = pixel >= 0;
            sum += pixel >= 0 ? d_y[index] * with : 0;
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
