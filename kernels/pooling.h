// The winner of a pooling window, by the rules of src/layers/max_pool2d/mod.rs: a tie belongs to the
// first maximum, NaN wins, padding is never the maximum.
#pragma once

#include "shapes.h"

// The pixel of a plane, (H, W), that is the maximum of the window (i, j).
__device__ int winner(const float* plane, Windows s, int i, int j)
{
    int best = -1;
    for (int a = 0; a < s.kh; a++) {
        int row = i * s.stride_h + a - s.padding_h;
        if (row < 0 || row >= s.h) continue;
        for (int b = 0; b < s.kw; b++) {
            int column = j * s.stride_w + b - s.padding_w;
            if (column < 0 || column >= s.w) continue;
            int pixel = row * s.w + column;
            // Of several NaN the last wins, as it does on the CPU.
            bool wins = best < 0 || plane[pixel] > plane[best] || plane[pixel] != plane[pixel];
            if (wins) best = pixel;
        }
    }
    return best;
}
