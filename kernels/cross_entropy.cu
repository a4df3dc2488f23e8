// Softmax and cross-entropy: the gradient of the mean loss by the logits, and what the losses and
// hits of the batch add up to. z, d_z: (N, K); labels: (N).
// The formula: src/layers/cross_entropy/mod.rs.

#include "step.h"
#include "sums.h"

// The loss of an example, and whether it is right.
__device__ float learn(
    const float* z, int label, float* d_z, int n, int k, float smoothing, int* right)
{
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
    float scale = 1.0f / n, each = smoothing / k;
    for (int c = 0; c < k; c++) {
        float target = c == label ? 1 - smoothing : 0;
        d_z[c] = (expf(z[c] - maximum) / sum - target - each) * scale;
    }
    *right += best == label;
    return loss;
}

// One block: a thread an example, or several. The losses are added up in one order. From here on the
// step is the one before `progress->steps`.
extern "C" __global__ void cross_entropy(
    const float* z, const unsigned char* labels, float* d_z, Progress* progress,
    int n, int k, float smoothing)
{
    double sum = 0;
    int right = 0;
    for (int example = threadIdx.x; example < n; example += blockDim.x) {
        int first = example * k;
        sum += learn(z + first, labels[example], d_z + first, n, k, smoothing, &right);
    }
    sum = block_sum(sum);
    right = block_sum(right);
    if (threadIdx.x == 0) {
        progress->loss_sum += sum;
        progress->correct += right;
        progress->steps += 1;
        // Neither infinite nor NaN: less itself it is 0.
        if (progress->bad_step == 0 && !(sum - sum == 0)) {
            progress->bad_step = progress->steps;
            progress->bad_loss = sum / n;
        }
    }
}
