// ReLU: y = max(x, 0), and its gradient. x, y: any shape, of `count` numbers.
// The formula: src/layers/relu/mod.rs. NaN stays NaN.

extern "C" __global__ void relu_forward(const float* x, float* y, int count)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    y[index] = x[index] <= 0 ? 0 : x[index];
}

extern "C" __global__ void relu_backward(
    const float* x, const float* d_y, float* d_x, int count)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    d_x[index] = x[index] <= 0 ? 0 : d_y[index];
}
