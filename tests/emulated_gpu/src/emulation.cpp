// Runs kernels: a block after the other, a thread after the other, each thread a fiber.

#include "cuda.h"

#include "batch.cu"
#include "conv2d.cu"
#include "cross_entropy.cu"
#include "dropout.cu"
#include "linear.cu"
#include "max_pool2d.cu"
#include "optimisers.cu"
#include "planted.cu"
#include "relu.cu"
#include "sgemm.cu"

#include <csetjmp>
#include <cstdio>
#include <deque>
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
    KERNEL(sgemm_naive),
    KERNEL(sgemm_coalesced),
    KERNEL_WITH_BARRIERS(sgemm_shared),
    KERNEL_WITH_BARRIERS(sgemm_registers),
    KERNEL_WITH_BARRIERS(sgemm_vector),
    KERNEL_WITH_BARRIERS(sgemm_warp),
    KERNEL_WITH_BARRIERS(planted_divergence),
    KERNEL_WITH_BARRIERS(planted_rotation),
    KERNEL(planted_barrier),
};
#undef KERNEL
#undef KERNEL_WITH_BARRIERS

enum class Fate { Ready, Waits, Done };

// A thread of a block, and of the next one after that.
struct Fiber {
    ucontext_t context;
    // Where it goes on.
    jmp_buf here;
    std::vector<char> stack = std::vector<char>(STACK);
    bool started = false;
    Fate fate = Fate::Ready;
};

// One launch at a time, for shared memory is static.
std::mutex launching;
// A fiber stays at its address.
std::deque<Fiber> fibers;
jmp_buf scheduler;
Fiber* running = nullptr;
const Kernel* kernel = nullptr;
void** arguments = nullptr;

// Back to the scheduler, until it resumes the fiber.
void leave(Fate fate)
{
    Fiber* fiber = running;
    fiber->fate = fate;
    // Jumps ask nothing of the system, as swapcontext would.
    if (_setjmp(fiber->here) == 0) _longjmp(scheduler, 1);
}

void run_fiber()
{
    for (;;) {
        (*kernel)(arguments);
        leave(Fate::Done);
    }
}

void resume(Fiber& fiber)
{
    running = &fiber;
    if (_setjmp(scheduler) != 0) return;
    if (fiber.started) _longjmp(fiber.here, 1);
    fiber.started = true;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, run_fiber, 0);
    setcontext(&fiber.context);
}

void run_block_without_fibers(unsigned threads)
{
    running = nullptr;
    for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) (*kernel)(arguments);
}

void run_block(unsigned threads)
{
    for (unsigned index = 0; index < threads; index++) fibers[index].fate = Fate::Ready;
    for (;;) {
        unsigned waiting = 0;
        for (unsigned index = 0; index < threads; index++) {
            if (fibers[index].fate == Fate::Done) continue;
            threadIdx.x = index;
            resume(fibers[index]);
            waiting += fibers[index].fate == Fate::Waits;
        }
        if (waiting == 0) return;
        if (waiting < threads) {
            // Those that wait will never be resumed: the next launch has fibers of its own.
            fibers.clear();
            throw std::runtime_error("only " + std::to_string(waiting) + " of "
                + std::to_string(threads) + " threads reach a barrier");
        }
    }
}

}
}

void __syncthreads()
{
    using namespace emulation;
    if (!running) throw std::runtime_error("it has barriers, and is not listed as one that has");
    leave(Fate::Waits);
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
