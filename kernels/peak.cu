// What a GPU can do at most, for the benches: multiply and add, and read and write memory.

// A thread multiplies and adds `rounds` times in eight chains, which need not wait for each other:
// 16 operations a round. The sum is written, or the compiler would see that nobody needs it.
extern "C" __global__ void peak_fma(float* numbers, int rounds, float factor)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    float chains[8];
    for (int k = 0; k < 8; k++) chains[k] = index + k;
    for (int round = 0; round < rounds; round++)
#pragma unroll
        for (int k = 0; k < 8; k++) chains[k] = chains[k] * factor + factor;
    float sum = 0;
    for (int k = 0; k < 8; k++) sum += chains[k];
    numbers[index] = sum;
}

// a = b + s c, four numbers a thread: 12 bytes a number (McCalpin's STREAM). (4 count) each.
extern "C" __global__ void peak_triad(float4* a, const float4* b, const float4* c, int count, float s)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    float4 x = b[index], y = c[index];
    x.x += s * y.x;
    x.y += s * y.y;
    x.z += s * y.z;
    x.w += s * y.w;
    a[index] = x;
}
