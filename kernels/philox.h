// Random numbers and what dropout makes of them: functions of seed, step, layer, example and element, the
// same as on the CPU (src/random.rs, src/layers/dropout/mod.rs).
#pragma once

// Ten rounds of Philox4x32 (Salmon, Moraes, Dror, Shaw, SC 2011); gives one of the four words.
__device__ unsigned philox(
    unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned k0, unsigned k1, int word)
{
    for (int round = 0; round < 10; round++) {
        unsigned long long first = 0xD2511F53ull * c0, second = 0xCD9E8D57ull * c2;
        c0 = (unsigned)(second >> 32) ^ c1 ^ k0;
        c1 = (unsigned)second;
        c2 = (unsigned)(first >> 32) ^ c3 ^ k1;
        c3 = (unsigned)first;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
}

// Whether element e of `elements` of example n is dropped: it takes word e mod 4 of the draw
// n ceil(elements / 4) + e / 4.
__device__ bool dropped(
    int n, int e, int elements, unsigned threshold, unsigned long long seed, unsigned step, unsigned layer)
{
    unsigned long long draw = (unsigned long long)n * ((elements + 3) / 4) + e / 4;
    // The purpose, 4, is the lowest byte beside the layer.
    unsigned word = philox((unsigned)draw, (unsigned)(draw >> 32), step, 4u | layer << 8,
        (unsigned)seed, (unsigned)(seed >> 32), e % 4);
    return word < threshold;
}
