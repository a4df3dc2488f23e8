// The threads of a block as fibers: each has a stack, and runs until it waits.
//
// Jumps ask nothing of the system, as swapcontext would, which matters at a million barriers; a
// sanitizer must be told of each change of stacks, and does not follow jumps, so with one it is
// swapcontext. To ThreadSanitizer fibers are threads that only `synchronised` puts in an order; what
// the scheduler and they tell each other is none of its business.
#pragma once

#include <csetjmp>
#include <deque>
#include <functional>
#include <stdexcept>
#include <string>
#include <ucontext.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

#if defined(__SANITIZE_THREAD__)
#define OURS __attribute__((no_sanitize_thread))
#else
#define OURS
#endif

namespace emulation {
namespace {

enum class Fate { Ready, WaitsForBlock, WaitsForWarp, Done };

constexpr std::size_t STACK = 64 * 1024;

// A thread of a block, and of the next one after that.
struct Fiber {
    ucontext_t context;
#if !defined(SANITIZED)
    // Where it goes on.
    jmp_buf here;
#endif
#if defined(__SANITIZE_ADDRESS__)
    void* fake_stack = nullptr;
#endif
#if defined(__SANITIZE_THREAD__)
    void* thread = __tsan_create_fiber(0);
#endif
    std::vector<char> stack = std::vector<char>(STACK);
    bool started = false;
};

// A fiber stays at its address.
std::deque<Fiber> fibers;
Fate fates[1024];
unsigned masks[1024];
Fiber* running = nullptr;
const std::function<void()>* body = nullptr;
// What a fiber found wrong: the scheduler throws it, for a fiber cannot.
std::string fault;

#if defined(SANITIZED)
ucontext_t scheduler;
#else
jmp_buf scheduler;
#endif
#if defined(__SANITIZE_ADDRESS__)
const void* scheduler_stack = nullptr;
std::size_t scheduler_size = 0;
#endif
#if defined(__SANITIZE_THREAD__)
void* scheduler_thread = nullptr;
// What a fiber does happens before it leaves, and what it does next after it may go on. These are two,
// or a fiber would know what others did before it that do not wait for it.
char left, may_go_on;
#endif

// Whether a fiber runs.
OURS bool inside() { return running != nullptr; }

// All that was done by the threads that now wait is done before what they do next.
void synchronised()
{
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(&left);
    __tsan_release(&may_go_on);
#endif
}

// Back to the scheduler, until it resumes the fiber.
OURS void leave(Fate fate)
{
    Fiber* fiber = running;
    fates[threadIdx.x] = fate;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fiber->fake_stack, scheduler_stack, scheduler_size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_release(&left);
    __tsan_switch_to_fiber(scheduler_thread, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(SANITIZED)
    swapcontext(&fiber->context, &scheduler);
#else
    if (_setjmp(fiber->here) == 0) _longjmp(scheduler, 1);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber->fake_stack, &scheduler_stack, &scheduler_size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(&may_go_on);
#endif
}

// What is wrong with the fiber that runs: it never goes on.
[[noreturn]] OURS void fail(const std::string& reason)
{
    if (!inside()) throw std::runtime_error(reason);
    fault = reason;
    for (;;) leave(Fate::Done);
}

OURS void run_fiber()
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(&may_go_on);
#endif
    for (;;) {
        (*body)();
        leave(Fate::Done);
    }
}

OURS void resume(unsigned index)
{
    // What is told here lies where no jump loses it.
    running = &fibers[index];
    if (!running->started) {
        running->started = true;
        getcontext(&running->context);
        running->context.uc_stack.ss_sp = running->stack.data();
        running->context.uc_stack.ss_size = running->stack.size();
        running->context.uc_link = nullptr;
        makecontext(&running->context, run_fiber, 0);
#if !defined(SANITIZED)
        if (_setjmp(scheduler) == 0) setcontext(&running->context);
    } else {
        if (_setjmp(scheduler) == 0) _longjmp(running->here, 1);
#endif
    }
#if defined(SANITIZED)
#if defined(__SANITIZE_ADDRESS__)
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, running->stack.data(), running->stack.size());
#endif
#if defined(__SANITIZE_THREAD__)
    scheduler_thread = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(running->thread, __tsan_switch_to_fiber_no_sync);
#endif
    swapcontext(&scheduler, &running->context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
#endif
    running = nullptr;
    if (!fault.empty()) {
        synchronised();
        // Those that wait will never be resumed: the next launch has fibers of its own.
        std::string reason;
        reason.swap(fault);
        fibers.clear();
        throw std::runtime_error(reason);
    }
}

// All threads of a block are ready to run `kernel`, behind all that other blocks did.
void begin_block(unsigned threads, const std::function<void()>& kernel)
{
    // Threads that a fault has left waiting will never go on.
    if (std::any_of(fates, fates + fibers.size(), [](Fate fate) { return fate != Fate::Done; }))
        fibers.clear();
    body = &kernel;
    while (fibers.size() < threads) {
        fates[fibers.size()] = Fate::Done;
        fibers.emplace_back();
    }
    std::fill(fates, fates + threads, Fate::Ready);
    synchronised();
}

}
}
