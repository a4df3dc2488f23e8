// Kernels with faults, which the emulation must find.

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

// Listed as a kernel without barriers.
extern "C" __global__ void planted_barrier(int* numbers)
{
    __syncthreads();
    numbers[threadIdx.x] = 1;
}
