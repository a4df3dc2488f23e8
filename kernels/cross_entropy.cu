// Softmax and cross-entropy: the gradient of the mean loss by the logits, and what the losses and
// hits of the batch add up to. z, d_z: (N, K); labels: (N).

#include "loss.h"

// One block: a warp an example, or several. The losses are added up in one order.
extern "C" __global__ void cross_entropy(
    const float* z, const unsigned char* labels, float* d_z, const Step* steps, Progress* progress,
    int n, int k, float smoothing)
{
    double sum = 0;
    int rights = 0;
    for (int example = threadIdx.x / 32; example < n; example += blockDim.x / 32) {
        bool right;
        float loss = warp_loss(
            z + example * k, labels[example], d_z + example * k, n, k, smoothing, &right);
        if (threadIdx.x % 32 != 0) continue;
        sum += loss;
        rights += right;
    }
    sum = block_sum(sum);
    rights = block_sum(rights);
    if (threadIdx.x == 0) count_step(steps, progress, sum, rights, n);
}
