// Softmax and cross-entropy: the loss of every example, whether it is right, and the gradient of the
// mean loss by its logits. z, d_z: (N, K); labels: (N); losses, rights: (N).
// The formula: src/layers/cross_entropy/mod.rs.

#include "sums.h"

// A thread an example.
extern "C" __global__ void cross_entropy(
    const float* z, const unsigned char* labels, float* d_z, float* losses, int* rights,
    int n, int k, float smoothing)
{
    int example = blockIdx.x * blockDim.x + threadIdx.x;
    if (example >= n) return;
    z += example * k;
    d_z += example * k;
    int label = labels[example];
    int best = 0;
    for (int c = 1; c < k; c++)
        if (z[c] > z[best]) best = c;
    // NaN is passed on, not hidden by a comparison.
    float maximum = z[best], sum = 0, mean = 0;
    for (int c = 0; c < k; c++) sum += expf(z[c] - maximum);
    float logarithm = logf(sum);
    for (int c = 0; c < k; c++) mean += logarithm + (maximum - z[c]);
    float loss = logarithm + (maximum - z[label]);
    if (smoothing != 0) loss = (1 - smoothing) * loss + smoothing * (mean / k);
    losses[example] = loss;
    rights[example] = best == label;
    float scale = 1.0f / n, each = smoothing / k;
    for (int c = 0; c < k; c++) {
        float target = c == label ? 1 - smoothing : 0;
        d_z[c] = (expf(z[c] - maximum) / sum - target - each) * scale;
    }
}

// What an epoch adds up to, kept on the GPU.
struct Totals {
    double loss_sum;
    unsigned long long correct;
    // The first step of the epoch, from 1 on, whose loss was not finite, or 0; and that loss.
    unsigned long long bad_step;
    double bad_loss;
};

// One block: adds a batch's losses and hits up, in one order.
extern "C" __global__ void count(
    const float* losses, const int* rights, int n, Totals* totals, unsigned long long step)
{
    double sum = 0;
    int right = 0;
    for (int example = threadIdx.x; example < n; example += blockDim.x) {
        sum += losses[example];
        right += rights[example];
    }
    sum = block_sum(sum);
    right = block_sum(right);
    if (threadIdx.x == 0) {
        totals->loss_sum += sum;
        totals->correct += right;
        // Neither infinite nor NaN: less itself it is 0.
        if (totals->bad_step == 0 && !(sum - sum == 0)) {
            totals->bad_step = step;
            totals->bad_loss = sum / n;
        }
    }
}
