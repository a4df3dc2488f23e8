// As much of CUDA C++ as the kernels need, for a C++ compiler: each thread of a block is a fiber, and
// one fiber runs at a time, until it waits for the others.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#define __global__
#define __device__ static inline
#define __grid_constant__
#define __launch_bounds__(...)
// Blocks run one after the other.
#define __shared__ static

#define __align__(bytes) __attribute__((aligned(bytes)))

struct alignas(8) float2 {
    float x, y;
};

struct alignas(16) float4 {
    float x, y, z, w;
};

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

using std::max;
using std::min;

// Waits until all threads of the block are here.
void __syncthreads();

// Waits until all threads of the warp that the mask names are here.
void __syncwarp(unsigned mask = 0xffffffff);

namespace emulation {

// Gives all threads of the mask what each of them brings, and this one what thread `lane` brought.
void exchange(unsigned mask, const void* mine, void* theirs, unsigned lane, std::size_t size);

// The lanes of the mask whose predicate is not 0.
unsigned vote(unsigned mask, int predicate);

inline unsigned lane() { return threadIdx.x % 32; }

template <typename T>
T shuffle(unsigned mask, T value, unsigned from)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves 4 or 8 bytes");
    T theirs;
    exchange(mask, &value, &theirs, from, sizeof(T));
    return theirs;
}

// Another fiber runs only where this one waits, so plain code is atomic.
template <typename T, typename F>
T atomically(T* place, F change)
{
    T old = *place;
    *place = change(old);
    return old;
}

}

template <typename T>
T __shfl_sync(unsigned mask, T value, int from)
{
    return emulation::shuffle(mask, value, from & 31);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int with)
{
    return emulation::shuffle(mask, value, emulation::lane() ^ with);
}

// Lanes past the end keep their own.
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by)
{
    unsigned from = emulation::lane() + by;
    return emulation::shuffle(mask, value, from < 32 ? from : emulation::lane());
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by)
{
    unsigned lane = emulation::lane();
    return emulation::shuffle(mask, value, lane >= by ? lane - by : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) { return emulation::vote(mask, predicate); }
inline int __any_sync(unsigned mask, int predicate) { return emulation::vote(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return emulation::vote(mask, predicate) == mask; }

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

// Integers alone: a sum of floats by atomics would not be the same from run to run.
inline int atomicAdd(int* place, int by)
{
    return emulation::atomically(place, [by](int old) { return old + by; });
}

inline unsigned atomicAdd(unsigned* place, unsigned by)
{
    return emulation::atomically(place, [by](unsigned old) { return old + by; });
}

inline int atomicMax(int* place, int other)
{
    return emulation::atomically(place, [other](int old) { return old > other ? old : other; });
}

// Blocks run one after the other, so what one wrote the next one sees.
inline void __threadfence() { }

template <typename T>
T __ldcg(const T* place)
{
    return *place;
}

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
