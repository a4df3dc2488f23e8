// Runs kernels: a block after the other, a thread after the other, each thread a fiber.

#include "cuda.h"

#include "batch.cu"
#include "classifier.cu"
#include "conv2d.cu"
#include "conv2d_implicit_gemm.cu"
#include "conv2d_relu_max_pool2d.cu"
#include "convnet.cu"
#include "cross_entropy.cu"
#include "dropout.cu"
#include "linear.cu"
#include "max_pool2d.cu"
#include "optimisers.cu"
#include "peak.cu"
#include "planted.cu"
#include "relu.cu"
#include "sgemm.cu"

#include "fibers.h"

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>

dim3 threadIdx, blockIdx, blockDim, gridDim;
// Of a launch, as large as it says and no larger, so that AddressSanitizer sees where it ends.
float* shared = nullptr;

namespace emulation {
namespace {

struct Known {
    Kernel kernel;
    // Whether its threads wait for each other. Those that do not need no fibers, unless it is to be
    // seen that they need not wait.
    bool waits;
};

#define KERNEL(name) { #name, { wrap(name), false } }
#define KERNEL_THAT_WAITS(name) { #name, { wrap(name), true } }
const std::map<std::string, Known> KERNELS = {
    KERNEL(gather),
    KERNEL_THAT_WAITS(classifier_forward),
    KERNEL_THAT_WAITS(classifier_backward),
    KERNEL_THAT_WAITS(classifier_learn),
    KERNEL(classifier_parameters),
    KERNEL(conv2d_forward),
    KERNEL(conv2d_backward_input),
    KERNEL_THAT_WAITS(conv2d_backward_weight),
    KERNEL_THAT_WAITS(conv2d_backward_bias),
    KERNEL_THAT_WAITS(conv2d_forward_implicit_gemm),
    KERNEL_THAT_WAITS(conv2d_relu_max_pool2d_forward),
    KERNEL_THAT_WAITS(conv2d_relu_max_pool2d_backward),
    KERNEL_THAT_WAITS(convnet_forward),
    KERNEL_THAT_WAITS(convnet_backward),
    KERNEL_THAT_WAITS(convnet_update),
    KERNEL_THAT_WAITS(cross_entropy),
    KERNEL(dropout_mask),
    KERNEL_THAT_WAITS(linear_forward),
    KERNEL(linear_backward),
    KERNEL(max_pool2d_forward),
    KERNEL(max_pool2d_backward),
    KERNEL(update),
    KERNEL(average),
    KERNEL_THAT_WAITS(clip),
    KERNEL(peak_fma),
    KERNEL(peak_triad),
    KERNEL(relu_forward),
    KERNEL(relu_backward),
    KERNEL(sgemm_naive),
    KERNEL(sgemm_coalesced),
    KERNEL_THAT_WAITS(sgemm_shared),
    KERNEL_THAT_WAITS(sgemm_registers),
    KERNEL_THAT_WAITS(sgemm_vector),
    KERNEL_THAT_WAITS(sgemm_warp),
    KERNEL_THAT_WAITS(sgemm_pipelined),
    KERNEL_THAT_WAITS(sgemm_wide),
    KERNEL_THAT_WAITS(planted_divergence),
    KERNEL_THAT_WAITS(planted_rotation),
    KERNEL(planted_barrier),
    KERNEL_THAT_WAITS(planted_race),
    KERNEL(planted_overrun),
    KERNEL_THAT_WAITS(planted_warp),
    KERNEL_THAT_WAITS(planted_mask),
    KERNEL_THAT_WAITS(planted_other_mask),
    KERNEL_THAT_WAITS(planted_shared),
};
#undef KERNEL
#undef KERNEL_THAT_WAITS

#if defined(__SANITIZE_THREAD__)
constexpr bool FIBERS_FOR_ALL = true;
#else
constexpr bool FIBERS_FOR_ALL = false;
#endif

// One launch at a time, for shared memory is static.
std::mutex launching;
// Whether the kernel that runs is known to wait.
bool may_wait;
// What each thread of a block brings to an exchange.
std::uint64_t brought[1024];

std::string number(std::size_t count)
{
    return std::to_string(count);
}

// Wakes the threads of warps whose masks are complete. Gives whether there were any.
bool wake_warps(unsigned threads)
{
    bool woken = false;
    for (unsigned first = 0; first < threads; first += 32) {
        unsigned lanes = std::min(32u, threads - first);
        for (unsigned lane = 0; lane < lanes; lane++) {
            if (fates[first + lane] != Fate::WaitsForWarp) continue;
            unsigned mask = masks[first + lane], here = 0;
            for (unsigned other = 0; other < 32; other++) {
                if (!(mask >> other & 1)) continue;
                bool gone = other >= lanes || fates[first + other] == Fate::Done;
                bool differs = !gone && fates[first + other] == Fate::WaitsForWarp
                    && masks[first + other] != mask;
                if (gone || differs)
                    throw std::runtime_error("the mask of thread " + number(first + lane) + " names lane "
                        + number(other) + ", which " + (gone ? "is not there" : "has another mask"));
                here += fates[first + other] == Fate::WaitsForWarp;
            }
            if (here != (unsigned)__builtin_popcount(mask)) continue;
            for (unsigned other = 0; other < 32; other++)
                if (mask >> other & 1) fates[first + other] = Fate::Ready;
            synchronised();
            woken = true;
        }
    }
    return woken;
}

OURS void run(unsigned index)
{
    if (fates[index] != Fate::Ready) return;
    threadIdx.x = index;
    resume(index);
}

void run_block(unsigned threads, const std::function<void()>& kernel)
{
    begin_block(threads, kernel);
    for (;;) {
        for (unsigned index = 0; index < threads; index++) run(index);
        if (wake_warps(threads)) continue;
        unsigned waiting = std::count(fates, fates + threads, Fate::WaitsForBlock);
        unsigned of_warps = std::count(fates, fates + threads, Fate::WaitsForWarp);
        if (of_warps > 0)
            throw std::runtime_error(number(of_warps) + " threads wait for others of their warps, which "
                "wait elsewhere");
        if (waiting == 0) {
            synchronised();
            return;
        }
        if (waiting < threads)
            throw std::runtime_error(
                "only " + number(waiting) + " of " + number(threads) + " threads reach a barrier");
        std::fill(fates, fates + threads, Fate::Ready);
        synchronised();
    }
}

// A thread that waits, unless its kernel is not known to.
OURS void wait(Fate fate)
{
    if (!may_wait) fail("it has barriers, and is not listed as one that has");
    leave(fate);
}

}

OURS void exchange(unsigned mask, const void* mine, void* theirs, unsigned from, std::size_t size)
{
    unsigned first = threadIdx.x - lane();
    std::memcpy(&brought[threadIdx.x], mine, size);
    __syncwarp(mask);
    // A lane that the mask does not name gives anything; so does this one then.
    std::memcpy(theirs, &brought[mask >> from & 1 ? first + from : threadIdx.x], size);
    __syncwarp(mask);
}

OURS unsigned vote(unsigned mask, int predicate)
{
    unsigned first = threadIdx.x - lane(), votes = 0;
    brought[threadIdx.x] = predicate != 0;
    __syncwarp(mask);
    for (unsigned other = 0; other < 32; other++)
        if (mask >> other & 1) votes |= (unsigned)brought[first + other] << other;
    __syncwarp(mask);
    return votes;
}

}

void __syncthreads()
{
    emulation::wait(emulation::Fate::WaitsForBlock);
}

OURS void __syncwarp(unsigned mask)
{
    using namespace emulation;
    if (!(mask >> lane() & 1)) fail("the mask of thread " + number(threadIdx.x) + " does not name itself");
    if (inside()) masks[threadIdx.x] = mask;
    emulation::wait(Fate::WaitsForWarp);
}

// Runs a kernel by its name, its blocks from the first to the last or `backwards`. Gives 0, or writes
// what was wrong, in at most `size` bytes.
extern "C" int emulated_launch(
    const char* name, unsigned blocks, unsigned threads, unsigned bytes, bool backwards,
    void** arguments, char* error, std::size_t size)
{
    using namespace emulation;
    std::lock_guard<std::mutex> lock(launching);
    try {
        auto found = KERNELS.find(name);
        if (found == KERNELS.end()) throw std::runtime_error("there is no such kernel");
        if (blocks == 0 || threads == 0 || threads > 1024)
            throw std::runtime_error("a launch has blocks, of 1 to 1024 threads");
        if (bytes > 64 * 1024) throw std::runtime_error("a block has at most 64 KiB of shared memory");
        std::unique_ptr<float[]> memory(new float[bytes / sizeof(float)]);
        shared = memory.get();
        blockDim.x = threads;
        gridDim.x = blocks;
        const Known& known = found->second;
        may_wait = known.waits;
        for (unsigned block = 0; block < blocks; block++) {
            blockIdx.x = backwards ? blocks - 1 - block : block;
            // What a block finds there is anything: NaN.
            std::memset(shared, 0xff, bytes / sizeof(float) * sizeof(float));
            if (known.waits || FIBERS_FOR_ALL)
                run_block(threads, [&] { known.kernel(arguments); });
            else
                for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) known.kernel(arguments);
        }
        return 0;
    } catch (const std::exception& fault) {
        synchronised();
        std::snprintf(error, size, "%s: %s", name, fault.what());
        return 1;
    }
}
