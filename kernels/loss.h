// Softmax and cross-entropy of one example, by a warp; and the count of an epoch's losses and hits.
// The formula: src/layers/cross_entropy/mod.rs.
#pragma once

#include "step.h"
#include "sums.h"

// The loss of an example whose logits are z, (K), and whether it is right, for each of the warp's
// threads; d_z, (K), becomes the gradient by the mean loss of n examples.
__device__ float warp_loss(const float* z, int label, float* d_z, int n, int k, float smoothing, bool* right)
{
    int lane = threadIdx.x % 32;
    // The first maximum. A lane without a class has none.
    int best = min(lane, k - 1);
    float maximum = z[best], sum = 0, mean = 0;
    for (int c = lane + 32; c < k; c += 32)
        if (z[c] > maximum) maximum = z[best = c];
    for (int half = 16; half > 0; half /= 2) {
        float other = __shfl_xor_sync(0xffffffffu, maximum, half);
        int of_other = __shfl_xor_sync(0xffffffffu, best, half);
        if (other > maximum || (other == maximum && of_other < best)) {
            maximum = other;
            best = of_other;
        }
    }
    // With NaN among them the lanes may not agree; it is passed on all the same.
    best = __shfl_sync(0xffffffffu, best, 0);
    maximum = __shfl_sync(0xffffffffu, maximum, 0);
    for (int c = lane; c < k; c += 32) sum += expf(z[c] - maximum);
    sum = warp_sum(sum);
    float logarithm = logf(sum);
    float loss = logarithm + (maximum - z[label]);
    if (smoothing != 0) {
        for (int c = lane; c < k; c += 32) mean += logarithm + (maximum - z[c]);
        loss = (1 - smoothing) * loss + smoothing * (warp_sum(mean) / k);
    }
    float scale = 1.0f / n, each = smoothing / k;
    for (int c = lane; c < k; c += 32) {
        float target = c == label ? 1 - smoothing : 0;
        d_z[c] = (expf(z[c] - maximum) / sum - target - each) * scale;
    }
    *right = best == label;
    return loss;
}

// Counts the present step, of n examples. The table has a row more than the epoch has steps.
__device__ void count_step(const Step* steps, Progress* progress, double loss_sum, int right, int n)
{
    progress->loss_sum += loss_sum;
    progress->correct += right;
    progress->steps += 1;
    progress->coming = steps[progress->steps];
    // Neither infinite nor NaN: less itself it is 0.
    if (progress->bad_step == 0 && !(loss_sum - loss_sum == 0)) {
        progress->bad_step = progress->steps;
        progress->bad_loss = loss_sum / n;
    }
}
