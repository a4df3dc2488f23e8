// A step of a small network in three kernels: one or two convolutions, each with ReLU and max-pool of
// 2 x 2, and a classifier. Between kernels a GPU waits longer than such a network computes; so what
// would be told from block to block is computed again in each that needs it, and nothing waits but for
// the end of a kernel: forward, back, and the sum over the examples with the update.
//
// An example has `parts` blocks. Forward, each computes the whole first convolution and its share of the
// last one's channels, and what these give to the first linear layer. Back, each takes the example through
// the rest of the classifier, and has its share of the channels between the convolutions, for which it
// needs no other block: their gradients, the last convolution's weights that read them and the first one's
// that make them. With one convolution the shares are of its channels.
//
// x: (N, C, H, W), of which only pixels that windows reach are written; y and winners of a convolution:
// (N, O, ph, pw), the winner a pixel of its plane, or -1 where ReLU stopped it.

#include "classifier.h"
#include "loss.h"
#include "optimisers.h"
#include "shared.h"

// Channels of y that a thread computes at once.
constexpr int GROUP = 2;

// Weights of the first linear layer that a thread asks for ahead, back.
constexpr int AHEAD = 17;

// From filter to filter in shared memory, so that four taps are one load.
__device__ constexpr int pitch(int k) { return (k * k + 3) / 4 * 4; }

// Numbers on their way to shared memory, place by place what `of` says. A thread asks for its first N when
// this is made and puts them there later, so that all that it asks for meanwhile is on its way together.
template <int N, typename T, typename F>
struct Coming {
    F of;
    int count;
    T first[N];
};

template <int N = 1, typename F>
__device__ auto coming(int count, F of)
{
    Coming<N, decltype(of(0)), F> coming = {of, count, {}};
#pragma unroll
    for (int k = 0; k < N; k++) {
        int place = threadIdx.x + k * blockDim.x;
        if (place < count) coming.first[k] = of(place);
    }
    return coming;
}

// Puts them where `put` says, with the place.
template <int N, typename T, typename F, typename G>
__device__ void arrive(const Coming<N, T, F>& coming, G put)
{
    int place = threadIdx.x;
#pragma unroll
    for (int k = 0; k < N; k++, place += blockDim.x)
        if (place < coming.count) put(place, coming.first[k]);
    for (; place < coming.count; place += blockDim.x) put(place, coming.of(place));
}

template <int N, typename T, typename F>
__device__ void arrive(const Coming<N, T, F>& coming, T* to)
{
    arrive(coming, [=](int place, T value) { to[place] = value; });
}

// The place in (channels, H, W) of a place in planes of x with their padding, or -1 in the border. They
// are as large as the pooled windows need, and their rows are even, so that two numbers are one load.
__device__ int unpadded(const Convolution& c, int place)
{
    int channel = place / c.area, rest = place % c.area;
    int row = rest / c.width - c.s.padding_h, column = rest % c.width - c.s.padding_w;
    bool inside = row >= 0 && row < c.s.h && column >= 0 && column < c.s.w;
    return inside ? (channel * c.s.h + row) * c.s.w + column : -1;
}

// The filters of `count` channels of y from the one at `first` on, and 0 to the end of the groups:
// (groups, GROUP, C, pitch). Behind the taps of the first channel of x is the bias.
__device__ auto filters(const Convolution& c, const float* parameters, int first, int count)
{
    int taps = c.s.kh * c.s.kw, inside = count * c.s.c;
    const float* from = parameters + c.weight + first * c.s.c * taps;
    const float* bias = parameters + c.bias + first;
    return coming<2>(c.groups.by * GROUP * c.s.c * c.pitch.by, [=, &c](int place) {
        int filter = place / c.pitch, tap = place % c.pitch;
        bool of_bias = tap == taps && filter % c.inputs == 0;
        const float* number = of_bias ? bias + filter / c.inputs : from + filter * taps + tap;
        return (of_bias || tap < taps) && filter < inside ? *number : 0;
    });
}

// Adds a channel of x to the sums of a tile of 2 x 2 pixels of a group: K + 1 by K + 1 numbers, each used
// up to four times a filter, and K K weights, each used four times.
template <int K>
__device__ void correlate_group(
    const float* from, int width, const float* weights, int apart, float (&sums)[GROUP][4])
{
    float x[K + 1][K + 1];
#pragma unroll
    for (int row = 0; row <= K; row++)
#pragma unroll
        for (int pair = 0; pair <= K / 2; pair++) {
            float2 two = ((const float2*)(from + row * width))[pair];
            x[row][2 * pair] = two.x;
            x[row][2 * pair + 1] = two.y;
        }
#pragma unroll
    for (int g = 0; g < GROUP; g++)
#pragma unroll
        for (int quad = 0; quad < pitch(K) / 4; quad++) {
            float4 four = ((const float4*)(weights + g * apart))[quad];
            float w[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
            for (int k = 0; k < 4; k++) {
                int tap = 4 * quad + k;
                if (tap >= K * K) continue;
#pragma unroll
                for (int pixel = 0; pixel < 4; pixel++)
                    sums[g][pixel] += w[k] * x[tap / K + pixel / 2][tap % K + pixel % 2];
            }
        }
}

// `count` channels of y, of which `put` is given channel, window, value and winner. A tile is a window;
// the threads are (slice, group, window), and a slice takes every so manieth channel of x.
//
// planes: (C, area), weights: (groups, GROUP, C, pitch), sums: (slices, groups, GROUP, windows, 4)
template <int K, typename F>
__device__ void convolve(
    const Convolution& c, const float* planes, const float* weights, int count, float* sums, F put)
{
    int windows = c.windows.by, apart = c.s.c * pitch(K);
    float4* all = (float4*)sums;
    for (int place = threadIdx.x; place < c.slices * c.groups.by * windows; place += blockDim.x) {
        int row = place / c.windows, window = place % c.windows;
        int slice = row / c.groups, group = row % c.groups;
        const float* from = planes + window / c.pw * 2 * c.width.by + window % c.pw * 2;
        const float* filters = weights + group * GROUP * apart;
        float mine[GROUP][4] = {};
        for (int channel = slice; channel < c.s.c; channel += c.slices)
            correlate_group<K>(
                from + channel * c.area.by, c.width.by, filters + channel * pitch(K), apart, mine);
        for (int g = 0; g < GROUP; g++)
            all[(row * GROUP + g) * windows + window]
                = {mine[g][0], mine[g][1], mine[g][2], mine[g][3]};
    }
    __syncthreads();
    for (int place = threadIdx.x; place < count * windows; place += blockDim.x) {
        float4 sum = {0, 0, 0, 0};
        for (int slice = 0; slice < c.slices; slice++) {
            float4 four = all[slice * c.groups.by * GROUP * windows + place];
            sum = {sum.x + four.x, sum.y + four.y, sum.z + four.z, sum.w + four.w};
        }
        int o = place / c.windows, window = place % c.windows;
        float b = weights[o * apart + K * K], y[4] = {sum.x + b, sum.y + b, sum.z + b, sum.w + b};
        // The first maximum; of several NaN the last, as on the CPU.
        int best = 0;
        float most = y[0];
#pragma unroll
        for (int k = 1; k < 4; k++)
            if (y[k] > most || y[k] != y[k]) most = y[best = k];
        int pixel = (window / c.pw * 2 + best / 2) * c.s.ow + window % c.pw * 2 + best % 2;
        // NaN is not stopped.
        bool stopped = most <= 0;
        put(o, window, stopped ? 0 : most, stopped ? -1 : pixel);
    }
}

template <typename F>
__device__ void convolve_any(
    const Convolution& c, const float* planes, const float* weights, int count, float* sums, F put)
{
    if (c.s.kh == 5)
        convolve<5>(c, planes, weights, count, sums, put);
    else
        convolve<3>(c, planes, weights, count, sums, put);
}

// Numbers that all threads' sums take.
__device__ int sums_of(const Convolution& c) { return c.slices * c.groups.by * GROUP * c.windows.by * 4; }

// A block's shared memory: table (C, 256), weights of the block's channels, those of the whole first
// convolution before it, the larger of their sums, planes of x and of the first y, and its share of y.
// hidden: (N, parts, outputs of the first linear layer), what each share of y gives to them.
//
// images: (all, C, H, W); order: the places of the epoch's images in it; table: as in batch.cu.
extern "C" __global__ void __launch_bounds__(1024, 1) convnet_forward(
    const unsigned char* images, const unsigned* order, const float* table, const float* parameters,
    float* x, float* first_y, int* first_winners, float* last_y, int* last_winners, float* hidden,
    Progress* progress, const __grid_constant__ Convnet net)
{
    begin_step(progress);
    unsigned start = progress->coming.start;
    bool two = net.convolutions == 2;
    const Convolution& first = net.of[0];
    const Convolution& last = net.of[two];
    int n = (int)blockIdx.x / net.parts, part = (int)blockIdx.x % net.parts;
    int begin = last.s.o * part / net.parts, count = last.s.o * (part + 1) / net.parts - begin;
    int pixels = first.s.c * first.pixels;

    float* numbers = shared;
    float* weights = numbers + first.s.c * 256;
    float* first_weights = weights + last.groups.by * GROUP * last.s.c * last.pitch.by;
    float* sums = first_weights + two * first.groups.by * GROUP * first.s.c * first.pitch.by;
    float* planes = sums + max(sums_of(first), sums_of(last));
    float* between = planes + first.s.c * first.area.by;
    float* y = between + two * last.s.c * last.area.by;
    auto last_filters = filters(last, parameters, begin, count);
    auto first_filters = filters(first, parameters, 0, first.s.o);
    auto of_bytes = coming(first.s.c * 256, [=](int place) { return table[place]; });
    const unsigned char* bytes = images + (unsigned long long)order[start + n] * pixels;
    auto image = coming(first.s.c * first.area.by, [=, &first](int place) {
        int pixel = unpadded(first, place);
        return pixel < 0 ? -1 : bytes[pixel];
    });
    arrive(last_filters, weights);
    if (two) {
        arrive(first_filters, first_weights);
        int count_between = last.s.c * last.area.by;
        for (int place = threadIdx.x; place < count_between; place += blockDim.x) between[place] = 0;
    }
    arrive(of_bytes, numbers);
    __syncthreads();
    arrive(image, [=, &first](int place, int byte) {
        float number = byte < 0 ? 0 : numbers[place / first.area * 256 + byte];
        planes[place] = number;
        if (part == 0 && byte >= 0) x[n * pixels + unpadded(first, place)] = number;
    });
    __syncthreads();
    if (two) {
        auto put = [=](int o, int window, float value, int winner) {
            int row = window / first.pw + last.s.padding_h;
            int column = window % first.pw + last.s.padding_w;
            // Where the last pooling leaves a row or column out, no window reaches it.
            int place = row * last.width.by + column;
            if (place < last.area.by && column < last.width.by)
                between[o * last.area.by + place] = value;
            if (o % net.parts != part) return;
            int index = (n * first.s.o + o) * first.windows.by + window;
            first_y[index] = value;
            first_winners[index] = winner;
        };
        convolve_any(first, planes, first_weights, first.s.o, sums, put);
        __syncthreads();
    }
    auto put = [=](int o, int window, float value, int winner) {
        int place = o * last.windows.by + window;
        int index = (n * last.s.o + begin) * last.windows.by + place;
        y[place] = value;
        last_y[index] = value;
        last_winners[index] = winner;
    };
    convolve_any(last, two ? between : planes, weights, count, sums, put);
    __syncthreads();

    // Half a warp an output, so that a block has all of a small layer's at once.
    const Dense& dense = net.classifier.of[0];
    int share = count * last.windows.by, lane = threadIdx.x % 16;
    for (int all = 0; all < dense.outputs; all += blockDim.x / 16) {
        int o = all + threadIdx.x / 16, of = min(o, dense.outputs - 1);
        const float* weight = parameters + dense.weight + of * dense.inputs + begin * last.windows.by;
        float sum = sum_of<8>(lane, share, 16, [=](int i) { return weight[i] * y[i]; });
        for (int half = 8; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, half);
        if (lane == 0 && o < dense.outputs) hidden[blockIdx.x * dense.outputs + o] = sum;
    }
}

// A winner whose gradient is not stopped: where its window of x begins in a padded plane, and its gradient.
struct __align__(8) Winner {
    int place;
    float gradient;
};

// The winners among the windows from `begin` to `end`, in their order, by a warp; returns how many they are.
//
// winners, d_y: (windows); list: (end - begin)
__device__ int list_winners(
    const Convolution& c, const int* winners, const float* d_y, int begin, int end, Winner* list)
{
    int lane = threadIdx.x % 32, count = 0;
    for (int first = begin; first < end; first += 32) {
        int window = first + lane;
        int pixel = window < end ? winners[window] : -1;
        unsigned won = __ballot_sync(0xffffffffu, pixel >= 0);
        int before = __popc(won & ((1u << lane) - 1));
        if (pixel >= 0)
            list[count + before] = {pixel / c.ow * c.width.by + pixel % c.ow, d_y[window]};
        count += __popc(won);
    }
    return count;
}

// A pair of channels, by a warp, a lane a tap: to the gradient by its weight, which is returned, each
// winner adds what its tap's pixel of x has, and to d_x, if it is wanted, what its weight gives. The lane
// behind the taps has the bias.
//
// x, d_x: a padded plane each
template <bool INPUT>
__device__ float follow(
    const Convolution& c, const Winner* list, int count, const float* x, float weight, float* d_x)
{
    int lane = threadIdx.x % 32, taps = c.s.kh * c.s.kw;
    // A kernel is 3 or 5 wide. Lanes without a tap do as the first one does, but add nothing to d_x.
    int row = c.s.kw == 5 ? lane / 5 : lane / 3;
    int tap = lane < taps ? row * c.width.by + lane - row * c.s.kw : 0;
    float sum = 0, of_bias = 0;
    for (int k = 0; k < count; k++) {
        Winner winner = list[k];
        int at = winner.place + tap;
        sum += winner.gradient * x[at];
        of_bias += winner.gradient;
        if (!INPUT) continue;
        if (lane < taps) d_x[at] += winner.gradient * weight;
        // The next winner's pixels may be this one's.
        __syncwarp();
    }
    return lane < taps ? sum : of_bias;
}

// A block's shared memory: lists of the last y's winners; for the gradient of the first y a plane for each
// warp that adds to it, and then the lists of that one's winners; values and their gradients (width each);
// parameters behind the first linear layer's weight; what the parts gave to its output, and what threads
// that share its outputs out give to the gradients by its inputs; winners of the last y, and how many
// count; planes of x (C, area), and what each warp's lanes have added up; and of its share of the channels
// between the convolutions, winners and gradients of the first y and padded planes of it.
//
// partial: (slices, parameters of the convolutions); labels: (all). A block has every so manieth example.
extern "C" __global__ void __launch_bounds__(1024, 1) convnet_backward(
    const float* x, const float* first_y, const int* first_winners, const float* last_y,
    const int* last_winners, const float* hidden, const unsigned char* labels, const unsigned* order,
    const float* parameters, float* values, float* d_values, float* losses, int* rights,
    float* partial, const Progress* progress, unsigned long long seed, float smoothing, int n,
    const __grid_constant__ Convnet net)
{
    bool two = net.convolutions == 2;
    const Convolution& first = net.of[0];
    const Convolution& last = net.of[two];
    const Classifier& c = net.classifier;
    const Dense &dense = c.of[0], &end = c.of[c.layers - 1];
    int slice = (int)blockIdx.x / net.parts, part = (int)blockIdx.x % net.parts;
    // Of the first convolution's channels.
    int begin = first.s.o * part / net.parts, count = first.s.o * (part + 1) / net.parts - begin;
    int warp = threadIdx.x / 32, warps = blockDim.x / 32, lane = threadIdx.x % 32;
    int windows = first.windows.by, last_windows = last.windows.by;
    int taps = first.s.kh * first.s.kw, last_taps = last.s.kh * last.s.kw;
    int members = net.members.by, segments = net.segments.by;

    // On boundaries of 8 bytes, which an even number of numbers keeps.
    Winner* lists = (Winner*)shared;
    float* d_planes = (float*)(lists + two * last.s.o * last_windows);
    Winner* first_lists = (Winner*)d_planes;
    int of_lists = 2 * net.most * first.s.c * windows;
    int of_planes = two ? net.most * members * last.area.by : 0;
    float* mine = d_planes + max(of_lists, of_planes);
    float* d_mine = mine + c.width;
    float* of_others = d_mine + c.width;
    float* parts_of_hidden = of_others + net.others;
    float* shares = parts_of_hidden + net.parts.by * dense.outputs;
    int* winners = (int*)(shares + dense.inputs * net.sharers);
    int* counts = winners + last.s.o * last_windows;
    float* planes = (float*)(counts + two * last.s.o);
    float* sums = planes + first.s.c * first.area.by;
    int* between_winners = (int*)(sums + net.most * first.s.c * segments * 32);
    float* d_between = (float*)(between_winners + net.most * windows);
    float* between = d_between + net.most * windows;
    partial += slice * dense.weight;
    // The parameters behind the first linear layer's weight, where a block keeps its own.
    int others_at = net.others > 0 ? dense.bias : 0;
    const float* rest = net.others > 0 ? of_others - others_at : parameters;
    int tasks = two ? count * members : 0;

    for (int example = slice; example < n; example += net.slices) {
        // The example before may still be read.
        __syncthreads();
        bool again = example != slice;
        auto put = [=](int index, float gradient) {
            partial[index] = again ? partial[index] + gradient : gradient;
        };
        Step step = progress->present;
        auto y = coming(dense.inputs, [=](int i) { return last_y[example * dense.inputs + i]; });
        int of_parts = net.parts.by * dense.outputs;
        auto sums_of_parts
            = coming(of_parts, [=](int place) { return hidden[example * of_parts + place]; });
        auto won = coming(last.s.o * last_windows, [=](int place) {
            return last_winners[example * last.s.o * last_windows + place];
        });
        auto image = coming(first.s.c * first.area.by, [=, &first](int place) {
            int pixel = unpadded(first, place);
            return pixel < 0 ? 0 : x[example * first.s.c * first.pixels + pixel];
        });
        auto others = coming(net.others, [=](int place) { return parameters[others_at + place]; });
        int share = (example * first.s.o + begin) * windows;
        auto between_won = coming(
            two ? count * windows : 0, [=](int place) { return first_winners[share + place]; });
        auto of_share = coming(two ? count * last.area.by : 0, [=, &last](int place) {
            int pixel = unpadded(last, place);
            return pixel < 0 ? 0 : first_y[share + pixel];
        });
        // Behind all these, and long before the gradients are there that they are multiplied by.
        float ahead[AHEAD];
        int column = threadIdx.x % net.features, sharer = threadIdx.x / net.features;
        const float* weights = parameters + dense.weight;
        const float* weight_ahead = weights + sharer * dense.inputs + column;
        int o_ahead = sharer < net.sharers ? sharer : dense.outputs;
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            ahead[k] = o_ahead < dense.outputs ? *weight_ahead : 0;
            weight_ahead += net.sharers * dense.inputs;
            o_ahead += net.sharers;
        }
        // A warp has a channel between and every so manieth channel of the last y, a lane a tap.
        auto weight_of = [=, &net, &last](int task, int o) {
            int filter = o * last.s.c + begin + task / net.members;
            bool wanted = task < tasks && o < last.s.o && lane < last_taps;
            return wanted ? parameters[last.weight + filter * last_taps + lane] : 0;
        };
        float weight = weight_of(warp, warp % net.members);
        unsigned labelled = order[step.start + example];
        arrive(y, mine);
        arrive(sums_of_parts, parts_of_hidden);
        arrive(won, winners);
        arrive(image, planes);
        arrive(others, of_others);
        arrive(between_won, between_winners);
        arrive(of_share, between);
        for (int place = threadIdx.x; place < tasks * last.area.by; place += blockDim.x)
            d_planes[place] = 0;
        int label = labels[labelled];
        __syncthreads();
        for (int o = threadIdx.x; o < dense.outputs; o += blockDim.x) {
            float sum = rest[dense.bias + o];
            for (int other = 0; other < net.parts.by; other++)
                sum += parts_of_hidden[other * dense.outputs + o];
            mine[dense.y + o] = sum;
        }
        Draws draws = {seed, step.done, example, true};
        forward_of(rest, c, 1, draws, mine);
        if (threadIdx.x < 32) {
            bool right;
            float loss = warp_loss(
                mine + end.y, label, d_mine + end.y, n, end.outputs, smoothing, &right);
            if (threadIdx.x == 0 && part == 0) {
                losses[example] = loss;
                rights[example] = right;
            }
        }
        backward_of(rest, c, 1, draws, mine, d_mine);
        const float* d_hidden = d_mine + dense.y;
        for (int place = threadIdx.x; place < dense.inputs * net.sharers; place += blockDim.x) {
            int i = place % net.features, from = place / net.features, apart = dense.inputs;
            float sum = 0;
            if (place < (int)blockDim.x) {
#pragma unroll
                for (int k = 0; k < AHEAD; k++, from += net.sharers)
                    if (from < dense.outputs) sum += ahead[k] * d_hidden[from];
            }
            shares[place] = sum + sum_of<8>(from, dense.outputs, net.sharers, [=](int o) {
                return weights[o * apart + i] * d_hidden[o];
            });
        }
        __syncthreads();
        for (int i = threadIdx.x; i < dense.inputs; i += blockDim.x) {
            float sum = shares[i];
            for (int other = 1; other < net.sharers; other++) sum += shares[other * dense.inputs + i];
            d_mine[i] = sum;
        }
        __syncthreads();
        if (part == 0) {
            copy(mine, values + example * c.width, c.width);
            copy(d_mine, d_values + example * c.width, c.width);
        }

        if (two) {
            for (int o = warp; o < last.s.o; o += warps) {
                int found = list_winners(
                    last, winners + o * last_windows, d_mine + o * last_windows, 0, last_windows,
                    lists + o * last_windows);
                if (lane == 0) counts[o] = found;
            }
            __syncthreads();
            for (int task = warp; task < tasks; task += warps) {
                int channel = task / net.members, member = task % net.members;
                if (task != warp) weight = weight_of(task, member);
                for (int o = member; o < last.s.o; o += members) {
                    float next = weight_of(task, o + members);
                    float sum = follow<true>(
                        last, lists + o * last_windows, counts[o], between + channel * last.area.by,
                        weight, d_planes + task * last.area.by);
                    weight = next;
                    int index = last.weight + (o * last.s.c + begin + channel) * last_taps + lane;
                    if (lane < last_taps)
                        put(index, sum);
                    else if (lane == last_taps && begin + channel == 0)
                        put(last.bias + o, sum);
                }
            }
            __syncthreads();
            for (int place = threadIdx.x; place < count * windows; place += blockDim.x) {
                int channel = place / first.windows, window = place % first.windows;
                int row = window / first.pw + last.s.padding_h;
                int column = window % first.pw + last.s.padding_w;
                int at = row * last.width.by + column;
                float sum = 0;
                if (at < last.area.by && column < last.width.by)
                    for (int member = 0; member < members; member++)
                        sum += d_planes[(channel * members + member) * last.area.by + at];
                d_between[place] = sum;
            }
            __syncthreads();
        }

        // A warp has a pair of channels and a segment of the windows.
        const int* of_winners = two ? between_winners : winners + begin * windows;
        const float* d_y = two ? d_between : d_mine + begin * windows;
        int pairs = count * first.s.c;
        for (int task = warp; task < pairs * segments; task += warps) {
            int pair = task / net.segments, segment = task % net.segments, o = pair / first.inputs;
            int from = windows * segment / net.segments, to = windows * (segment + 1) / net.segments;
            Winner* list = first_lists + pair * windows + from;
            int found = list_winners(first, of_winners + o * windows, d_y + o * windows, from, to, list);
            __syncwarp();
            const float* plane = planes + (pair - o * first.s.c) * first.area.by;
            sums[task * 32 + lane] = follow<false>(first, list, found, plane, 0, nullptr);
        }
        __syncthreads();
        for (int place = threadIdx.x; place < pairs * 32; place += blockDim.x) {
            int pair = place / 32, tap = place % 32, o = pair / first.inputs;
            if (tap > taps || (tap == taps && pair != o * first.s.c)) continue;
            float sum = 0;
            for (int segment = 0; segment < segments; segment++)
                sum += sums[(pair * segments + segment) * 32 + tap];
            if (tap < taps)
                put(first.weight + (begin * first.s.c + pair) * taps + tap, sum);
            else
                put(first.bias + begin + o, sum);
        }
    }
}

// The gradients, each a sum over slices or examples, and with `learns` the update by them: a block has 32
// parameters, and its four warps share the sum out. The block behind them counts the step.
//
// gradients: (P); losses, rights: (N).
extern "C" __global__ void __launch_bounds__(128) convnet_update(
    float* parameters, float* gradients, float* first_moment, float* second_moment,
    const float* partial, const float* values, const float* d_values, const float* losses,
    const int* rights, const Step* steps, Progress* progress, int n, int slices, int count, int learns,
    const __grid_constant__ Update rule, const __grid_constant__ Classifier c)
{
    if (blockIdx.x + 1 == gridDim.x) {
        double loss = 0;
        int right = 0;
        for (int example = threadIdx.x; example < n; example += blockDim.x) {
            loss += losses[example];
            right += rights[example];
        }
        loss = block_sum(loss);
        right = block_sum(right);
        if (threadIdx.x == 0) count_step(steps, progress, loss, right, n);
        return;
    }
    __shared__ float sums[4][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int index = blockIdx.x * 32 + lane, convolutions = c.of[0].weight;
    bool inside = index < count;
    Vectors vectors = {parameters, first_moment, second_moment};
    // Asked for before the sum is waited for.
    Step step = progress->present;
    Parameter p = {0, 0, 0};
    if (inside && warp == 0) p = parameter_at(vectors, index);
    float sum = 0;
    if (inside && index < convolutions) {
        sum = sum_of<8>(
            warp, slices, 4, [=](int slice) { return partial[slice * convolutions + index]; });
    } else if (inside) {
        Factors factors = factors_of(c, index);
        int width = c.width;
        sum = sum_of<8>(warp, n, 4, [=](int example) {
            return product_of(factors, values, d_values, example * width);
        });
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || !inside) return;
    for (int other = 1; other < 4; other++) sum += sums[other][lane];
    gradients[index] = sum;
    if (learns) put_parameter(vectors, index, updated(rule, step, p, sum));
}
