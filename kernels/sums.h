// Sums over the threads of a block, and of a warp.
#pragma once

// The sum of all threads' values, for each of them. They are added in one order, half of the block to
// the other half again and again, so that the bits are the same from run to run. A block has a power
// of two of threads, all of which must come here.
template <typename T>
__device__ T block_sum(T value)
{
    __shared__ T sums[1024];
    // An earlier sum may still be read.
    __syncthreads();
    sums[threadIdx.x] = value;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    __syncthreads();
    return sums[0];
}

// The sum of what `term` says of begin, begin + step, … below end, in this order. So many terms are asked
// for before any is waited for: one after the other, each would be.
template <int AT_ONCE, typename F>
__device__ float sum_of(int begin, int end, int step, F term)
{
    float sum = 0;
    for (int first = begin; first < end; first += AT_ONCE * step) {
        float terms[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) terms[k] = term(min(first + k * step, end - 1));
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) sum += first + k * step < end ? terms[k] : 0;
    }
    return sum;
}

// The sum over a warp's 32 threads, for each of them, all of which must come here: likewise, but from
// register to register.
__device__ float warp_sum(float value)
{
    for (int half = 16; half > 0; half /= 2) value += __shfl_xor_sync(0xffffffffu, value, half);
    return value;
}
