// As much of CUDA C++ as the kernels need, for a C++ compiler: each thread of a block is a fiber, and
// one fiber runs at a time, until it waits for the others.
#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#define __global__
#define __device__ static inline
// Blocks run one after the other.
#define __shared__ static

#define __align__(bytes) __attribute__((aligned(bytes)))

struct alignas(16) float4 {
    float x, y, z, w;
};

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

// Waits until all threads of the block are here.
void __syncthreads();

namespace emulation {

// A kernel that is called with pointers to its arguments.
using Kernel = std::function<void(void**)>;

template <typename... A, std::size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>)
{
    kernel(*static_cast<A*>(arguments[I])...);
}

template <typename... A>
Kernel wrap(void (*kernel)(A...))
{
    return [kernel](void** arguments) {
        call(kernel, arguments, std::index_sequence_for<A...> {});
    };
}

}
