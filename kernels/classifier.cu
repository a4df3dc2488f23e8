// The end of a network, linear layers with ReLU and dropout among them, with its loss, in one kernel: a
// block takes an example through all of them and back, and its values stay in shared memory. A layer of
// 50 numbers alone is done sooner than the next kernel begins; so five kernels of a step become two.
// It reads all weights once an example, so it is for small layers; and what a thread waits for is those
// reads, so blocks are large and loops are unrolled, that many are on their way at once.
//
// x: (N, first inputs), parameters and gradients: (P), values and their gradients: (N, width).

#include "classifier.h"
#include "loss.h"
#include "shared.h"

// A block an example; y: (N, last outputs). Blocks have whole warps.
extern "C" __global__ void __launch_bounds__(1024, 1) classifier_forward(
    const float* x, const float* parameters, float* y, float* values,
    unsigned long long seed, int learns, const Progress* progress,
    const __grid_constant__ Classifier c)
{
    int n = blockIdx.x;
    Draws draws = {seed, progress->present.done, n, learns != 0};
    copy(x + n * c.of[0].inputs, shared, c.of[0].inputs);
    forward_of(parameters, c, 0, draws, shared);
    copy(shared, values + n * c.width, c.width);
    const Dense& last = c.of[c.layers - 1];
    copy(shared + last.y, y + n * last.outputs, last.outputs);
}

// A block an example; d_y: (N, last outputs), d_x: (N, first inputs).
extern "C" __global__ void __launch_bounds__(1024, 1) classifier_backward(
    const float* d_y, const float* parameters, const float* values, float* d_values, float* d_x,
    unsigned long long seed, const Progress* progress,
    const __grid_constant__ Classifier c)
{
    int n = blockIdx.x;
    Draws draws = {seed, progress->present.done, n, true};
    float* mine = shared;
    float* d_mine = shared + c.width;
    const Dense& last = c.of[c.layers - 1];
    copy(values + n * c.width, mine, c.width);
    copy(d_y + n * last.outputs, d_mine + last.y, last.outputs);
    backward_of(parameters, c, 0, draws, mine, d_mine);
    copy(d_mine, d_values + n * c.width, c.width);
    copy(d_mine, d_x + n * c.of[0].inputs, c.of[0].inputs);
}

// Both, with the loss between them; a block an example, of `gridDim.x`. The last of them to be done adds
// the losses up, in the order of the examples, so that the bits are the same from run to run.
//
// labels, losses: (N); rights: (N); ticket: one number, 0, and 0 again at the end.
extern "C" __global__ void __launch_bounds__(1024, 1) classifier_learn(
    const float* x, const unsigned char* labels, const float* parameters,
    float* values, float* d_values, float* d_x, float* losses, int* rights, unsigned* ticket,
    unsigned long long seed, float smoothing, const Step* steps, Progress* progress,
    const __grid_constant__ Classifier c)
{
    int n = blockIdx.x, all = gridDim.x;
    Draws draws = {seed, progress->present.done, n, true};
    float* mine = shared;
    float* d_mine = shared + c.width;
    const Dense& last = c.of[c.layers - 1];
    copy(x + n * c.of[0].inputs, mine, c.of[0].inputs);
    forward_of(parameters, c, 0, draws, mine);
    if (threadIdx.x < 32) {
        bool right;
        float loss = warp_loss(
            mine + last.y, labels[n], d_mine + last.y, all, last.outputs, smoothing, &right);
        if (threadIdx.x == 0) {
            losses[n] = loss;
            rights[n] = right;
        }
    }
    backward_of(parameters, c, 0, draws, mine, d_mine);
    copy(mine, values + n * c.width, c.width);
    copy(d_mine, d_values + n * c.width, c.width);
    copy(d_mine, d_x + n * c.of[0].inputs, c.of[0].inputs);
    // What was written is seen before the ticket is.
    __threadfence();
    __syncthreads();
    __shared__ bool is_last;
    if (threadIdx.x == 0) is_last = atomicAdd(ticket, 1) + 1 == (unsigned)all;
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    double sum = 0;
    int right = 0;
    for (int example = threadIdx.x; example < all; example += blockDim.x) {
        sum += __ldcg(&losses[example]);
        right += __ldcg(&rights[example]);
    }
    sum = block_sum(sum);
    right = block_sum(right);
    if (threadIdx.x != 0) return;
    *ticket = 0;
    count_step(steps, progress, sum, right, all);
}

// The gradients by all parameters of the classifier, which lie together from its first weight on: a
// thread a number, summed over n examples.
extern "C" __global__ void classifier_parameters(
    const float* values, const float* d_values, float* gradients, int n, int count,
    const __grid_constant__ Classifier c)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    int first = 0;
    while (c.of[first].kind != LINEAR) first++;
    int place = c.of[first].weight + index;
    Factors factors = factors_of(c, place);
    int width = c.width;
    gradients[place] = sum_of<8>(
        0, n, 1, [=](int example) { return product_of(factors, values, d_values, example * width); });
}
