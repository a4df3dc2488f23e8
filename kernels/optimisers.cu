// What is done with the gradients, element by element: all vectors are (count).

#include "optimisers.h"
#include "sums.h"

extern "C" __global__ void update(
    float* parameters, const float* gradients, float* first_moment, float* second_moment, int count,
    const Progress* progress, const __grid_constant__ Update rule)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    Vectors vectors = {parameters, first_moment, second_moment};
    Parameter p = parameter_at(vectors, index);
    put_parameter(vectors, index, updated(rule, progress->present, p, gradients[index]));
}

extern "C" __global__ void average(
    const float* parameters, float* average, int count, const Progress* progress)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    const Step& step = progress->present;
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
