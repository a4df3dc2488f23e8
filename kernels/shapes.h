// The sizes that kernels are told, as src/hardware/gpu/mod.rs has them: whole numbers of 32 bits,
// in this order. All tensors are row-major; N is the number of images.
#pragma once

// A layer with windows. x: (N, C, H, W), y: (N, O, oh, ow); O is C for pooling.
struct Windows {
    int n, c, h, w;
    int o, oh, ow;
    int kh, kw;
    int stride_h, stride_w;
    int padding_h, padding_w;
};

// A linear layer. x: (N, I), y: (N, O).
struct Linear {
    int n, i, o;
};

// What a layer of a classifier is.
enum { LINEAR, RELU, DROPOUT };

// A layer of a classifier. x and y are the places of its input and output among an example's values,
// weight and bias those of its parameters.
struct Dense {
    int kind, inputs, outputs;
    int weight, bias;
    int x, y;
    // Of dropout, with the layer's number in the network.
    float scale;
    unsigned threshold, number;
};

// The layers at a network's end, of which an example has `width` values, its input first.
struct Classifier {
    int layers, width;
    Dense of[8];
};

// Something to divide by: one of two numbers whose product is less than 2^31 by the other. A division of
// whole numbers takes a GPU a hundred cycles, the multiplication by `factor`, 2^31 / by rounded up, five.
struct Divisor {
    int by;
    unsigned factor;
};

__device__ int operator/(int number, Divisor d)
{
    return (int)((unsigned long long)(unsigned)number * d.factor >> 31);
}

__device__ int operator%(int number, Divisor d) { return number - number / d * d.by; }

// A convolution of stride 1 with a square kernel, ReLU behind it, and max-pool of 2 x 2.
struct Convolution {
    Windows s;
    // Places of its parameters.
    int weight, bias;
    // A block computes so many groups of channels of y; and so many threads share the channels of x out.
    Divisor groups;
    int slices;
    // Pixels of a plane of x.
    int pixels;
    // Channels of x; pixels of a row of y, of a pooled plane and of a row of that.
    Divisor inputs, ow, windows, pw;
    // A plane of x in shared memory, with padding, and a row of it; and a filter of a channel there.
    Divisor area, width, pitch;
};

// One or two of them, and a classifier that begins with a linear layer. See kernels/convnet.cu.
struct Convnet {
    int convolutions;
    Convolution of[2];
    // Blocks of an example; and slices of the examples, back.
    Divisor parts;
    int slices;
    // Of the first convolution's channels a block has at most so many, back. Warps that share the last
    // one's channels out for each of them, and the first one's windows for each pair of channels.
    int most;
    Divisor members, segments;
    // Inputs of the first linear layer, and threads that share its outputs out for each of them.
    Divisor features;
    int sharers;
    // Parameters behind the first linear layer's weight, if they are few enough that each block keeps its
    // own, else 0.
    int others;
    Classifier classifier;
};
