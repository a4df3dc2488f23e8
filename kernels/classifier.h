// One example's way through the layers of a classifier and back, by a block, and what the gradients by
// its parameters are made of. The kernels: classifier.cu, convnet.cu.
#pragma once

#include "philox.h"
#include "shapes.h"
#include "sums.h"

// What dropout draws from. Nothing is dropped where nothing is learned.
struct Draws {
    unsigned long long seed;
    unsigned step;
    int n;
    bool learns;
};

// All values of an example from the layer `first` on, whose input is there.
__device__ void forward_of(
    const float* parameters, const Classifier& c, int first, Draws draws, float* values)
{
    for (int k = first; k < c.layers; k++) {
        __syncthreads();
        const Dense& layer = c.of[k];
        const float* x = values + layer.x;
        float* y = values + layer.y;
        if (layer.kind == LINEAR) {
            // A warp a number, as in kernels/linear.cu.
            for (int o = threadIdx.x / 32; o < layer.outputs; o += blockDim.x / 32) {
                const float* weight = parameters + layer.weight + o * layer.inputs;
                float sum = sum_of<12>(
                    threadIdx.x % 32, layer.inputs, 32, [=](int i) { return weight[i] * x[i]; });
                sum = warp_sum(sum);
                if (threadIdx.x % 32 == 0) y[o] = sum + parameters[layer.bias + o];
            }
            continue;
        }
        for (int i = threadIdx.x; i < layer.inputs; i += blockDim.x) {
            if (layer.kind == RELU)
                y[i] = x[i] <= 0 ? 0 : x[i];
            else if (draws.learns
                && dropped(draws.n, i, layer.inputs, layer.threshold, draws.seed, draws.step, layer.number))
                y[i] = 0;
            else
                y[i] = draws.learns ? layer.scale * x[i] : x[i];
        }
    }
    __syncthreads();
}

// The gradients by them, of which the last layer's are there.
__device__ void backward_of(
    const float* parameters, const Classifier& c, int first, Draws draws, const float* values,
    float* d_values)
{
    for (int k = c.layers - 1; k >= first; k--) {
        __syncthreads();
        const Dense& layer = c.of[k];
        const float* x = values + layer.x;
        const float* d_y = d_values + layer.y;
        for (int i = threadIdx.x; i < layer.inputs; i += blockDim.x) {
            float sum = 0;
            if (layer.kind == LINEAR) {
                const float* weight = parameters + layer.weight + i;
                int apart = layer.inputs;
                sum = sum_of<12>(
                    0, layer.outputs, 1, [=](int o) { return weight[o * apart] * d_y[o]; });
            } else if (layer.kind == RELU) {
                sum = x[i] <= 0 ? 0 : d_y[i];
            } else if (!dropped(
                           draws.n, i, layer.inputs, layer.threshold, draws.seed, draws.step, layer.number)) {
                sum = layer.scale * d_y[i];
            }
            d_values[layer.x + i] = sum;
        }
    }
    __syncthreads();
}

__device__ void copy(const float* from, float* to, int count)
{
    for (int i = threadIdx.x; i < count; i += blockDim.x) to[i] = from[i];
}

// Where an example has what the gradient by a parameter is the product of: d_y among its gradients, and x
// among its values, or nothing (-1) where the parameter is of a bias.
struct Factors {
    int d_y, x;
};

// Of the parameter at `place`, which is at or behind the first linear layer's weight.
__device__ Factors factors_of(const Classifier& c, int place)
{
    int k = 0;
    while (c.of[k].kind != LINEAR || place >= c.of[k].bias + c.of[k].outputs) k++;
    const Dense& layer = c.of[k];
    if (place >= layer.bias) return {layer.y + place - layer.bias, -1};
    int o = (place - layer.weight) / layer.inputs, i = (place - layer.weight) % layer.inputs;
    return {layer.y + o, layer.x + i};
}

// What the example whose values begin at `place` adds to the gradient.
__device__ float product_of(Factors f, const float* values, const float* d_values, int place)
{
    return d_values[place + f.d_y] * (f.x < 0 ? 1 : values[place + f.x]);
}
