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

// A convolution of stride 1 with a square kernel, ReLU behind it, and max-pool of 2 x 2 to ph x pw. weight
// and bias are the places of its parameters.
struct Convolution {
    Windows s;
    int ph, pw;
    int weight, bias;
};

// One or two of them, and a classifier that begins with a linear layer.
struct Convnet {
    int convolutions;
    Convolution of[2];
    Classifier classifier;
};
