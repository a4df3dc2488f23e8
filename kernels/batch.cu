// A batch from the dataset, which lies on the GPU as bytes: x = (byte / 255 - mean) / deviation, the
// numbers for each byte of each channel in a table (C, 256).
//
// images: (all, C, H, W); order: the places of the epoch's images in it, (all); x: (N, C, H, W).

#include "step.h"

extern "C" __global__ void gather(
    const unsigned char* images, const unsigned char* labels, const unsigned* order,
    Progress* progress, const float* table,
    float* x, unsigned char* batch_labels, int n, int c, int area)
{
    begin_step(progress);
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= n * c * area) return;
    int pixel = index % (c * area), example = index / (c * area);
    unsigned image = order[progress->coming.start + example];
    unsigned long long from = (unsigned long long)image * (c * area) + pixel;
    x[index] = table[pixel / area * 256 + images[from]];
    if (pixel == 0) batch_labels[example] = labels[image];
}
