// Runs kernels: a block after the other, a thread after the other, each thread a fiber.

#include "cuda.h"

#include "batch.cu"
#include "conv2d.cu"
#include "cross_entropy.cu"
#include "dropout.cu"
#include "linear.cu"
#include "max_pool2d.cu"
#include "optimisers.cu"
#include "relu.cu"

#include <cstdio>
#include <map>
#include <mutex>
#include <stdexcept>
#include <ucontext.h>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {
namespace {

constexpr std::size_t STACK = 64 * 1024;

struct Known {
    Kernel kernel;
    // Whether its threads wait for each other. Those that do not need no fibers.
    bool barriers;
};

#define KERNEL(name) { #name, { wrap(name), false } }
#define KERNEL_WITH_BARRIERS(name) { #name, { wrap(name), true } }
const std::map<std::string, Known> KERNELS = {
    KERNEL(gather),
    KERNEL(conv2d_forward),
    KERNEL(conv2d_backward_input),
    KERNEL_WITH_BARRIERS(conv2d_backward_weight),
    KERNEL_WITH_BARRIERS(conv2d_backward_bias),
    KERNEL(cross_entropy),
    KERNEL_WITH_BARRIERS(count),
    KERNEL(dropout_mask),
    KERNEL(linear_forward),
    KERNEL(linear_backward_input),
    KERNEL(linear_backward_weight),
    KERNEL(linear_backward_bias),
    KERNEL(max_pool2d_forward),
    KERNEL(max_pool2d_backward),
    KERNEL(sgd),
    KERNEL(adam),
    KERNEL(average),
    KERNEL_WITH_BARRIERS(clip),
    KERNEL(relu_forward),
    KERNEL(relu_backward),
};
#undef KERNEL
#undef KERNEL_WITH_BARRIERS

enum class Fate { Ready, Waits, Done };

struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(STACK);
    Fate fate = Fate::Ready;
};

// One launch at a time, for shared memory is static.
std::mutex launching;
std::vector<Fiber> fibers;
ucontext_t scheduler;
Fiber* running = nullptr;
const Kernel* kernel = nullptr;
void** arguments = nullptr;

void run_fiber()
{
    (*kernel)(arguments);
    running->fate = Fate::Done;
    // The context's link leads back to the scheduler.
}

void run_block_without_fibers(unsigned threads)
{
    running = nullptr;
    for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) (*kernel)(arguments);
}

void run_block(unsigned threads)
{
    for (unsigned index = 0; index < threads; index++) {
        Fiber& fiber = fibers[index];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, run_fiber, 0);
        fiber.fate = Fate::Ready;
    }
    for (;;) {
        unsigned waiting = 0;
        for (unsigned index = 0; index < threads; index++) {
            Fiber& fiber = fibers[index];
            if (fiber.fate == Fate::Done) continue;
            threadIdx.x = index;
            fiber.fate = Fate::Ready;
            running = &fiber;
            swapcontext(&scheduler, &fiber.context);
            waiting += fiber.fate == Fate::Waits;
        }
        if (waiting == 0) return;
        if (waiting < threads)
            throw std::runtime_error("only " + std::to_string(waiting) + " of "
                + std::to_string(threads) + " threads reach a barrier");
    }
}

}
}

void __syncthreads()
{
    using namespace emulation;
    if (!running) throw std::runtime_error("it has barriers, and is not listed as one that has");
    running->fate = Fate::Waits;
    swapcontext(&running->context, &scheduler);
}

// Runs a kernel by its name. Gives 0, or writes what was wrong, in at most `size` bytes.
extern "C" int emulated_launch(
    const char* name, unsigned blocks, unsigned threads, void** arguments, char* error,
    std::size_t size)
{
    using namespace emulation;
    std::lock_guard<std::mutex> lock(launching);
    try {
        auto found = KERNELS.find(name);
        if (found == KERNELS.end()) throw std::runtime_error("there is no such kernel");
        if (blocks == 0 || threads == 0 || threads > 1024)
            throw std::runtime_error("a launch has blocks, of 1 to 1024 threads");
        kernel = &found->second.kernel;
        auto run = found->second.barriers ? run_block : run_block_without_fibers;
        emulation::arguments = arguments;
        blockDim.x = threads;
        gridDim.x = blocks;
        if (fibers.size() < threads) fibers.resize(threads);
        for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) run(threads);
        return 0;
    } catch (const std::exception& fault) {
        std::snprintf(error, size, "%s: %s", name, fault.what());
        return 1;
    }
}
