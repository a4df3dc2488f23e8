// The updates of src/optimisers, element by element: parameters, moments and average are (count).
// The step is the one before `progress->steps`, for its loss is known.

#include "step.h"
#include "sums.h"

extern "C" __global__ void sgd(
    float* parameters, const float* gradients, float* velocity, int count,
    const Step* steps, const Progress* progress, float momentum, float weight_decay, int nesterov)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    float gradient = gradients[index] + weight_decay * parameters[index];
    velocity[index] = momentum * velocity[index] + gradient;
    float change = nesterov ? gradient + momentum * velocity[index] : velocity[index];
    parameters[index] -= steps[progress->steps - 1].rate * change;
}

// The step's `decay` is 1 - lr weight_decay where the decay is decoupled, else 1, and `penalty` then
// the L2 penalty; its `rate` is lr / (1 - beta1^t), its `root` the square root of 1 - beta2^t.
extern "C" __global__ void adam(
    float* parameters, const float* gradients, float* mean, float* mean_square, int count,
    const Step* steps, const Progress* progress, float penalty,
    float beta1, float rest1, float beta2, float rest2, float eps)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    Step step = steps[progress->steps - 1];
    float gradient = gradients[index] + penalty * parameters[index];
    float m = beta1 * mean[index] + rest1 * gradient;
    float v = beta2 * mean_square[index] + rest2 * gradient * gradient;
    mean[index] = m;
    mean_square[index] = v;
    parameters[index] = step.decay * parameters[index] - step.rate * m / (sqrtf(v) / step.root + eps);
}

extern "C" __global__ void average(
    const float* parameters, float* average, int count, const Step* steps, const Progress* progress)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    Step step = steps[progress->steps - 1];
    average[index] = step.kept * average[index] + step.fresh * parameters[index];
}

// One block: the norm of all gradients, in f64 and in one order, and then what shortens them to
// `most`, if they are longer.
extern "C" __global__ void clip(float* gradients, int count, double most)
{
    double sum = 0;
    for (int index = threadIdx.x; index < count; index += blockDim.x)
        sum += (double)gradients[index] * gradients[index];
    double factor = most / (sqrt(block_sum(sum)) + 1e-6);
    if (factor < 1)
        for (int index = threadIdx.x; index < count; index += blockDim.x)
            gradients[index] *= (float)factor;
}
