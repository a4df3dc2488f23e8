// The product of two matrices, C = A B, as a ladder: six kernels that compute the same, each with one
// idea more. A: (M, K), B: (K, N), C: (M, N), row-major. Every launch has blocks of 256 threads; the
// host's table of tiles is in src/hardware/gpu/sgemm.rs.
//
// What a rung should gain is counted in bytes that it asks of global memory for one multiply-add, and
// in loads from shared memory; 2 M N K operations are the same for all. Nothing here was measured on
// a GPU yet.
//
// The order of ideas is that of Simon Boehm's "How to Optimize a CUDA Matmul Kernel" (2022).

// 1. Naive: a thread a number of C, and neighbours in a warp a row apart. Each multiply-add reads a
// number of A and one of B. Those of A lie K numbers apart from thread to thread, so a warp touches 32
// lines of memory for 32 numbers: 8 bytes are used, 132 are moved.
extern "C" __global__ void sgemm_naive(
    const float* a, const float* b, float* c, int m, int n, int k)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= m * n) return;
    int row = index % m, column = index / m;
    float sum = 0;
    for (int l = 0; l < k; l++) sum += a[row * k + l] * b[l * n + column];
    c[row * n + column] = sum;
}

// 2. Coalesced: neighbours in a warp are a column apart. They read the same number of A, which is
// sent to all of them at once, and 32 numbers of B that lie side by side: a line for 32 numbers. About
// 4 bytes are moved for a multiply-add, a thirtieth.
extern "C" __global__ void sgemm_coalesced(
    const float* a, const float* b, float* c, int m, int n, int k)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= m * n) return;
    int row = index / n, column = index % n;
    float sum = 0;
    for (int l = 0; l < k; l++) sum += a[row * k + l] * b[l * n + column];
    c[row * n + column] = sum;
}

// 3. A tile in shared memory: a block computes 32 x 32 numbers, and reads 32 columns of A and 32 rows
// of B at a time into memory that all its threads see. Each number that is read is used 32 times: 8 /
// 32 bytes for a multiply-add. Now shared memory is the bound: a thread has four sums of one column,
// so five loads for four multiply-adds.
extern "C" __global__ void sgemm_shared(
    const float* a, const float* b, float* c, int m, int n, int k)
{
    __shared__ float tile_a[32][32];
    __shared__ float tile_b[32][32];
    int across = (n + 31) / 32;
    int first_row = blockIdx.x / across * 32, first_column = blockIdx.x % across * 32;
    int x = threadIdx.x % 32, y = threadIdx.x / 32;
    float sums[4] = { 0, 0, 0, 0 };
    for (int start = 0; start < k; start += 32) {
        for (int r = 0; r < 4; r++) {
            int row = first_row + y + 8 * r, l = start + x;
            tile_a[y + 8 * r][x] = row < m && l < k ? a[row * k + l] : 0;
            l = start + y + 8 * r;
            int column = first_column + x;
            tile_b[y + 8 * r][x] = l < k && column < n ? b[l * n + column] : 0;
        }
        __syncthreads();
        for (int l = 0; l < 32; l++)
            for (int r = 0; r < 4; r++) sums[r] += tile_a[y + 8 * r][l] * tile_b[l][x];
        __syncthreads();
    }
    for (int r = 0; r < 4; r++) {
        int row = first_row + y + 8 * r, column = first_column + x;
        if (row < m && column < n) c[row * n + column] = sums[r];
    }
}

// 4. A tile in registers: a block computes 64 x 64 numbers and a thread 4 x 4 of them. Eight loads
// from shared memory give sixteen multiply-adds, two fifths of rung 3's for each; global memory gives
// 8 / 64 bytes. A is stored with rows and columns exchanged, so that what a thread needs lies together.
extern "C" __global__ void sgemm_registers(
    const float* a, const float* b, float* c, int m, int n, int k)
{
    __shared__ float tile_a[16][64];
    __shared__ float tile_b[16][64];
    int across = (n + 63) / 64;
    int first_row = blockIdx.x / across * 64, first_column = blockIdx.x % across * 64;
    int x = threadIdx.x % 16 * 4, y = threadIdx.x / 16 * 4;
    float sums[4][4] = {};
    for (int start = 0; start < k; start += 16) {
        for (int place = threadIdx.x; place < 16 * 64; place += 256) {
            int row = first_row + place / 16, l = start + place % 16;
            tile_a[place % 16][place / 16] = row < m && l < k ? a[row * k + l] : 0;
            int column = first_column + place % 64;
            l = start + place / 64;
            tile_b[place / 64][place % 64] = l < k && column < n ? b[l * n + column] : 0;
        }
        __syncthreads();
        for (int l = 0; l < 16; l++) {
            float left[4], right[4];
            for (int i = 0; i < 4; i++) left[i] = tile_a[l][y + i];
            for (int j = 0; j < 4; j++) right[j] = tile_b[l][x + j];
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) sums[i][j] += left[i] * right[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            int row = first_row + y + i, column = first_column + x + j;
            if (row < m && column < n) c[row * n + column] = sums[i][j];
        }
}

// Four numbers of a row of a matrix of `width` columns, from (row, column) on; 0 behind its edges. One
// load where they are all there and lie on a boundary of 16 bytes.
__device__ float4 four(const float* matrix, int height, int width, int row, int column)
{
    float4 numbers = { 0, 0, 0, 0 };
    if (row >= height) return numbers;
    const float* from = matrix + (long long)row * width + column;
    if (column + 3 < width && width % 4 == 0) return *(const float4*)from;
    if (column < width) numbers.x = from[0];
    if (column + 1 < width) numbers.y = from[1];
    if (column + 2 < width) numbers.z = from[2];
    if (column + 3 < width) numbers.w = from[3];
    return numbers;
}

// Four numbers at (row, column), as far as they are inside.
__device__ void put_four(float* matrix, int height, int width, int row, int column, float4 numbers)
{
    if (row >= height) return;
    float* to = matrix + (long long)row * width + column;
    if (column + 3 < width && width % 4 == 0) {
        *(float4*)to = numbers;
        return;
    }
    if (column < width) to[0] = numbers.x;
    if (column + 1 < width) to[1] = numbers.y;
    if (column + 2 < width) to[2] = numbers.z;
    if (column + 3 < width) to[3] = numbers.w;
}

// What rungs 5 and 6 share: 8 columns of A and 8 rows of B for a tile of 128 x 128, four numbers a
// thread of each.
__device__ void load_tiles(
    const float* a, const float* b, int m, int n, int k, int first_row, int first_column, int start,
    float (*tile_a)[128], float (*tile_b)[128])
{
    int row = threadIdx.x / 2, l = threadIdx.x % 2 * 4;
    float4 left = four(a, m, k, first_row + row, start + l);
    tile_a[l][row] = left.x;
    tile_a[l + 1][row] = left.y;
    tile_a[l + 2][row] = left.z;
    tile_a[l + 3][row] = left.w;
    int column = threadIdx.x % 32 * 4;
    l = threadIdx.x / 32;
    *(float4*)&tile_b[l][column] = four(b, k, n, start + l, first_column + column);
}

// 5. Loads of four numbers: a block computes 128 x 128 numbers and a thread 8 x 8, and both memories
// are asked for 16 bytes at once. Four instructions load what 64 multiply-adds need, where rung 4 has
// eight for 16; global memory gives 8 / 128 bytes for each.
extern "C" __global__ void sgemm_vector(
    const float* a, const float* b, float* c, int m, int n, int k)
{
    __shared__ __align__(16) float tile_a[8][128];
    __shared__ __align__(16) float tile_b[8][128];
    int across = (n + 127) / 128;
    int first_row = blockIdx.x / across * 128, first_column = blockIdx.x % across * 128;
    int x = threadIdx.x % 16 * 8, y = threadIdx.x / 16 * 8;
    float sums[8][8] = {};
    for (int start = 0; start < k; start += 8) {
        load_tiles(a, b, m, n, k, first_row, first_column, start, tile_a, tile_b);
        __syncthreads();
#pragma unroll
        for (int l = 0; l < 8; l++) {
            float left[8], right[8];
#pragma unroll
            for (int i = 0; i < 8; i += 4) {
                *(float4*)&left[i] = *(float4*)&tile_a[l][y + i];
                *(float4*)&right[i] = *(float4*)&tile_b[l][x + i];
            }
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) sums[i][j] += left[i] * right[j];
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j += 4) {
            float4 numbers = { sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3] };
            put_four(c, m, n, first_row + y + i, first_column + x + j, numbers);
        }
}

// 6. A tile a warp: the eight warps of a block each compute 64 x 32 numbers of the 128 x 128, so that
// a warp reads 96 numbers of a row and a column where in rung 5 it reads 16 + 128. A thread's 8 x 8
// numbers are four squares of 4 x 4 that lie 32 rows and 16 columns apart: threads side by side then
// read 16 bytes side by side, and no two of them the same bank of shared memory at different places.
extern "C" __global__ void sgemm_warp(
    const float* a, const float* b, float* c, int m, int n, int k)
{
    __shared__ __align__(16) float tile_a[8][128];
    __shared__ __align__(16) float tile_b[8][128];
    int across = (n + 127) / 128;
    int first_row = blockIdx.x / across * 128, first_column = blockIdx.x % across * 128;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    // Warps: 2 down, 4 across. Lanes: 8 down, 4 across.
    int y = warp / 4 * 64 + lane / 4 * 4, x = warp % 4 * 32 + lane % 4 * 4;
    float sums[8][8] = {};
    for (int start = 0; start < k; start += 8) {
        load_tiles(a, b, m, n, k, first_row, first_column, start, tile_a, tile_b);
        __syncthreads();
#pragma unroll
        for (int l = 0; l < 8; l++) {
            float left[8], right[8];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                *(float4*)&left[4 * half] = *(float4*)&tile_a[l][y + 32 * half];
                *(float4*)&right[4 * half] = *(float4*)&tile_b[l][x + 16 * half];
            }
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) sums[i][j] += left[i] * right[j];
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j += 4) {
            float4 numbers = { sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3] };
            int row = first_row + y + i / 4 * 32 + i % 4;
            put_four(c, m, n, row, first_column + x + j / 4 * 16, numbers);
        }
}
