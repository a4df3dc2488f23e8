// Kernels with faults, which the emulation must find, and kernels that show what it can.

#include "shared.h"

// Half of the threads never reach the barrier.
extern "C" __global__ void planted_divergence(int* numbers)
{
    if (threadIdx.x % 2) __syncthreads();
    numbers[threadIdx.x] = 1;
}

// Each thread's number is its neighbour's: right only if all are written before one is read.
extern "C" __global__ void planted_rotation(int* numbers)
{
    __shared__ int shared[1024];
    shared[threadIdx.x] = threadIdx.x + 1000 * blockIdx.x;
    __syncthreads();
    numbers[blockIdx.x * blockDim.x + threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
}

// The same with the memory of the launch.
extern "C" __global__ void planted_shared(int* numbers)
{
    shared[threadIdx.x] = threadIdx.x + 1000 * blockIdx.x;
    __syncthreads();
    numbers[blockIdx.x * blockDim.x + threadIdx.x] = (int)shared[(threadIdx.x + 1) % blockDim.x];
}

// Listed as a kernel without barriers.
extern "C" __global__ void planted_barrier(int* numbers)
{
    __syncthreads();
    numbers[threadIdx.x] = 1;
}

// A rotation without its barrier, for ThreadSanitizer: right by luck alone.
extern "C" __global__ void planted_race(int* numbers)
{
    shared[threadIdx.x] = threadIdx.x;
    numbers[threadIdx.x] = (int)shared[(threadIdx.x + 1) % blockDim.x];
}

// A number behind the end of the launch's memory, for AddressSanitizer.
extern "C" __global__ void planted_overrun(int* numbers)
{
    shared[threadIdx.x + 1] = 1;
    numbers[threadIdx.x] = 1;
}

// Sums of a warp by shuffles, votes, and a count of blocks by an atomic.
extern "C" __global__ void planted_warp(int* numbers)
{
    unsigned all = 0xffffffffu;
    int lane = threadIdx.x % 32, sum = threadIdx.x;
    for (int half = 16; half > 0; half /= 2) sum += __shfl_xor_sync(all, sum, half);
    int last = __shfl_sync(all, (int)threadIdx.x, 31);
    int next = __shfl_down_sync(all, (int)threadIdx.x, 1), before = __shfl_up_sync(all, (int)threadIdx.x, 1);
    unsigned odd = __ballot_sync(all, lane % 2);
    bool votes = __any_sync(all, lane == 7) && !__all_sync(all, lane == 7) && odd == 0xaaaaaaaau;
    int* mine = numbers + 5 * threadIdx.x;
    mine[0] = sum;
    mine[1] = last;
    mine[2] = next - before;
    mine[3] = votes;
    atomicAdd(&mine[4], 1);
}

// Half of a warp shuffles as if all of it did.
extern "C" __global__ void planted_mask(int* numbers)
{
    if (threadIdx.x % 32 < 16) numbers[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}

// A thread whose mask does not name it.
extern "C" __global__ void planted_other_mask(int* numbers)
{
    numbers[threadIdx.x] = __shfl_sync(0x0000ffffu, 1, 0);
}
