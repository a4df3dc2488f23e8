// What differs from step to step lies on the GPU, so that the kernels of one step can be recorded and
// run again for the next. The host's side is in src/engines/cuda/steps.rs.
#pragma once

// What a step of an epoch has of its own.
struct Step {
    // Place of its batch's first example in the epoch's order.
    unsigned start;
    // Steps done before it since the beginning of training, from which dropout draws.
    unsigned done;
    // Of the update: see kernels/optimisers.h.
    float rate, root, decay, kept, fresh;
};

// How far an epoch is, and what it adds up to.
struct Progress {
    double loss_sum;
    unsigned long long correct;
    // Steps of which the loss is known: the place of the coming one in the epoch's table.
    unsigned long long steps;
    // The first step, from 1 on, whose loss was not finite, or 0; and that loss.
    unsigned long long bad_step;
    double bad_loss;
    // The step whose batch is gathered next, and the one whose batch was gathered last. They are two,
    // so that no kernel reads what another block of it writes.
    Step coming, present;
};

// The coming step is the present one from the next kernel on; all threads may come here.
__device__ void begin_step(Progress* progress)
{
    if (blockIdx.x == 0 && threadIdx.x == 0) progress->present = progress->coming;
}
