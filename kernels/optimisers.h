// The updates of src/optimisers, of one parameter.
#pragma once

#include "step.h"

// What an update is. Its numbers are the optimiser's; `penalty` is an L2 penalty, rest 1 - beta.
enum { SGD, ADAM };
struct Update {
    int kind;
    float penalty;
    // Of SGD.
    float momentum;
    int nesterov;
    // Of Adam.
    float beta1, rest1, beta2, rest2, eps;
};

// A parameter with what its optimiser keeps: SGD its velocity, Adam mean and mean square of its gradient.
struct Parameter {
    float value, first_moment, second_moment;
};

// The parameter behind the update. Of Adam, the step's `decay` is 1 - lr weight_decay where the decay is
// decoupled, else 1; its `rate` is lr / (1 - beta1^t), its `root` the square root of 1 - beta2^t.
__device__ Parameter updated(const Update& rule, const Step& step, Parameter p, float gradient)
{
    gradient += rule.penalty * p.value;
    if (rule.kind == SGD) {
        p.first_moment = rule.momentum * p.first_moment + gradient;
        float change = rule.nesterov ? gradient + rule.momentum * p.first_moment : p.first_moment;
        p.value -= step.rate * change;
        return p;
    }
    p.first_moment = rule.beta1 * p.first_moment + rule.rest1 * gradient;
    p.second_moment = rule.beta2 * p.second_moment + rule.rest2 * gradient * gradient;
    p.value = step.decay * p.value
        - step.rate * p.first_moment / (sqrtf(p.second_moment) / step.root + rule.eps);
    return p;
}

// All parameters' vectors, (count) each.
struct Vectors {
    float *parameters, *first_moment, *second_moment;
};

__device__ Parameter parameter_at(Vectors vectors, int index)
{
    return {vectors.parameters[index], vectors.first_moment[index], vectors.second_moment[index]};
}

__device__ void put_parameter(Vectors vectors, int index, Parameter p)
{
    vectors.parameters[index] = p.value;
    vectors.first_moment[index] = p.first_moment;
    vectors.second_moment[index] = p.second_moment;
}
