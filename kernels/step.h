// What differs from step to step lies on the GPU, so that the kernels of one step can be recorded and
// run again for the next. The host's side is in src/engines/cuda/steps.rs.
#pragma once

// What a step of an epoch has of its own.
struct Step {
    // Place of its batch's first example in the epoch's order.
    unsigned start;
    // Steps done before it since the beginning of training, from which dropout draws.
    unsigned done;
    // Of the update: see kernels/optimisers.cu.
    float rate, root, decay, kept, fresh;
};

// How far an epoch is, and what it adds up to.
struct Progress {
    double loss_sum;
    unsigned long long correct;
    // Steps of which the loss is known. The loss comes between forward and backward: until then this
    // is the place of the step in the table, and then the place behind it.
    unsigned long long steps;
    // The first step, from 1 on, whose loss was not finite, or 0; and that loss.
    unsigned long long bad_step;
    double bad_loss;
};
