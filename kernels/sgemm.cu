// The product of two matrices, C = A B, as a ladder: eight kernels that compute the same, each with
// one idea more. A: (M, K), B: (K, N), C: (M, N), row-major. Every launch has blocks of 256 threads;
// the host's table of tiles is in src/hardware/gpu/sgemm.rs.
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

// The numbers from row to row of a tile of A, of which 128 are used. A warp stores 16 numbers in each
// of two rows that lie four apart; the four more put those into the other 16 banks.
constexpr int ROW = 132;

// A thread's part of 8 columns of A, which become rows, and of 8 rows of B: four numbers of A, and
// COLUMNS / 32 of B.
template <int COLUMNS>
__device__ void store_tiles(
    float4 left, const float4* right, float (*tile_a)[ROW], float (*tile_b)[COLUMNS])
{
    int row = threadIdx.x / 2, l = threadIdx.x % 2 * 4;
    tile_a[l][row] = left.x;
    tile_a[l + 1][row] = left.y;
    tile_a[l + 2][row] = left.z;
    tile_a[l + 3][row] = left.w;
    int column = threadIdx.x % 32 * 4;
    l = threadIdx.x / 32;
#pragma unroll
    for (int part = 0; part < COLUMNS / 128; part++)
        *(float4*)&tile_b[l][column + 128 * part] = right[part];
}

// What rungs 5 and 6 share: 8 columns of A and 8 rows of B for a tile of 128 x 128, four numbers a
// thread of each.
__device__ void load_tiles(
    const float* a, const float* b, int m, int n, int k, int first_row, int first_column, int start,
    float (*tile_a)[ROW], float (*tile_b)[128])
{
    int row = threadIdx.x / 2, l = threadIdx.x % 2 * 4;
    float4 left = four(a, m, k, first_row + row, start + l);
    int column = threadIdx.x % 32 * 4;
    l = threadIdx.x / 32;
    float4 right = four(b, k, n, start + l, first_column + column);
    store_tiles(left, &right, tile_a, tile_b);
}

// 5. Loads of four numbers: a block computes 128 x 128 numbers and a thread 8 x 8, and both memories
// are asked for 16 bytes at once. Four instructions load what 64 multiply-adds need, where rung 4 has
// eight for 16; global memory gives 8 / 128 bytes for each.
extern "C" __global__ void sgemm_vector(
    const float* a, const float* b, float* c, int m, int n, int k)
{
    __shared__ __align__(16) float tile_a[8][ROW];
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

// What rungs 6 to 8 share: a thread has 8 x WIDE sums, in squares of 4 x 4 that lie 32 rows and 16
// columns apart. From one row of either tile it reads 8 and WIDE numbers.
template <int WIDE>
__device__ void load_row(const float* row_a, const float* row_b, float* left, float* right)
{
#pragma unroll
    for (int i = 0; i < 8; i += 4) *(float4*)&left[i] = *(const float4*)&row_a[i * 8];
#pragma unroll
    for (int j = 0; j < WIDE; j += 4) *(float4*)&right[j] = *(const float4*)&row_b[j * 4];
}

// It goes there and back through the columns: where a row ends, the next begins with the same number
// of B, which then is still at hand and need not be read from its register again.
template <int WIDE>
__device__ void multiply_and_add(const float* left, const float* right, float (*sums)[WIDE])
{
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int step = 0; step < WIDE; step++) {
            int j = i % 2 ? WIDE - 1 - step : step;
            sums[i][j] += left[i] * right[j];
        }
}

template <int WIDE>
__device__ void put_sums(float* c, int m, int n, int row, int column, const float (*sums)[WIDE])
{
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < WIDE; j += 4) {
            float4 numbers = { sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3] };
            put_four(c, m, n, row + i / 4 * 32 + i % 4, column + j * 4, numbers);
        }
}

// Where a thread's sums begin in its block's tile. Warps: 2 down, 4 across. Lanes: 8 down, 4 across,
// in such an order that lanes 0 and 1, 2 and 3, ... read the same of B, and lanes 0 and 2, 1 and 3, ...
// the same of A. Then shared memory gives a warp 16 bytes a thread in two cycles, and else in four.
__device__ int row_of_thread()
{
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    return warp / 4 * 64 + lane / 8 * 8 + lane % 2 * 4;
}

__device__ int column_of_thread(int columns_of_warp)
{
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    return warp % 4 * columns_of_warp + lane / 2 % 4 * 4;
}

// A tile of 128 x 128 that may lie at an edge: rung 6, and what does not fit rungs 7 and 8.
__device__ void multiply_tile(
    const float* a, const float* b, float* c, int m, int n, int k, int first_row, int first_column,
    float (*tile_a)[ROW], float (*tile_b)[128])
{
    int y = row_of_thread(), x = column_of_thread(32);
    float sums[8][8] = {};
    for (int start = 0; start < k; start += 8) {
        load_tiles(a, b, m, n, k, first_row, first_column, start, tile_a, tile_b);
        __syncthreads();
#pragma unroll
        for (int l = 0; l < 8; l++) {
            float left[8], right[8];
            load_row<8>(&tile_a[l][y], &tile_b[l][x], left, right);
            multiply_and_add<8>(left, right, sums);
        }
        __syncthreads();
    }
    put_sums<8>(c, m, n, first_row + y, first_column + x, sums);
}

// 6. A tile a warp: the eight warps of a block each compute 64 x 32 numbers of the 128 x 128, so that
// a warp reads 96 numbers of a row and a column where in rung 5 it reads 16 + 128. A thread's 8 x 8
// numbers are four squares of 4 x 4 that lie 32 rows and 16 columns apart: threads side by side then
// read 16 bytes side by side, and no two of them the same bank of shared memory at different places.
extern "C" __global__ void sgemm_warp(
    const float* a, const float* b, float* c, int m, int n, int k)
{
    __shared__ __align__(16) float tile_a[8][ROW];
    __shared__ __align__(16) float tile_b[8][128];
    int across = (n + 127) / 128;
    int first_row = blockIdx.x / across * 128, first_column = blockIdx.x % across * 128;
    multiply_tile(a, b, c, m, n, k, first_row, first_column, tile_a, tile_b);
}

// What rungs 7 and 8 share: a tile of 128 x COLUMNS, in pieces of 8 columns of A and 8 rows of B. Each
// is on its way from global memory while the piece before it is multiplied, up to that one's last row.
template <int COLUMNS>
__device__ void multiply_pipelined(const float* a, const float* b, float* c, int m, int n, int k)
{
    __shared__ __align__(16) float tile_a[2][8][ROW];
    __shared__ __align__(16) float tile_b[2][8][COLUMNS];
    int across = (n + COLUMNS - 1) / COLUMNS;
    int first_row = blockIdx.x / across * 128, first_column = blockIdx.x % across * COLUMNS;
    bool whole_tile = first_row + 128 <= m && first_column + COLUMNS <= n;
    // In pairs, and every row on a boundary of 16 bytes.
    bool whole_pieces = n % 4 == 0 && k % 16 == 0 && k > 0;
    if (!whole_tile || !whole_pieces) {
        int end = min(first_column + COLUMNS, n);
        for (int column = first_column; column < end; column += 128)
            multiply_tile(a, b, c, m, n, k, first_row, column, tile_a[0], (float (*)[128])tile_b);
        return;
    }

    constexpr int WIDE = COLUMNS / 16, PARTS = COLUMNS / 128;
    int from_a = (first_row + threadIdx.x / 2) * k + threadIdx.x % 2 * 4;
    int from_b = threadIdx.x / 32 * n + first_column + threadIdx.x % 32 * 4;
    float4 next_a, next_b[PARTS];
    auto fetch = [&](int pieces) {
        from_a += 8 * pieces;
        from_b += 8 * n * pieces;
        next_a = *(const float4*)&a[from_a];
#pragma unroll
        for (int part = 0; part < PARTS; part++) next_b[part] = *(const float4*)&b[from_b + 128 * part];
    };

    int y = row_of_thread(), x = column_of_thread(COLUMNS / 4);
    float left[2][8], right[2][WIDE], sums[8][WIDE] = {};
    fetch(0);
    store_tiles(next_a, next_b, tile_a[0], tile_b[0]);
    fetch(1);
    __syncthreads();
    load_row<WIDE>(&tile_a[0][0][y], &tile_b[0][0][x], left[0], right[0]);
    for (int start = 0; start < k; start += 16)
#pragma unroll
        for (int now = 0; now < 2; now++) {
            int other = 1 - now;
#pragma unroll
            for (int l = 0; l < 7; l++) {
                int next = l + 1;
                load_row<WIDE>(
                    &tile_a[now][next][y], &tile_b[now][next][x], left[next % 2], right[next % 2]);
                multiply_and_add<WIDE>(left[l % 2], right[l % 2], sums);
            }
            // The other tiles are free: their last row was read before the last barrier. Behind the
            // last piece nothing is fetched, and nobody needs what is stored.
            store_tiles(next_a, next_b, tile_a[other], tile_b[other]);
            if (start + 8 * now + 16 < k) fetch(1);
            __syncthreads();
            load_row<WIDE>(&tile_a[other][0][y], &tile_b[other][0][x], left[0], right[0]);
            multiply_and_add<WIDE>(left[1], right[1], sums);
        }
    put_sums<WIDE>(c, m, n, first_row + y, first_column + x, sums);
}

// 7. Pipelined: at every piece rung 6 waits for global memory and, twice, for its slowest warp. Here
// nothing is waited for that was only just asked for. A piece has as long to arrive as a scheduler's
// four warps take for the one before it, about 2,000 cycles, and a row from shared memory as long as
// they take for a row. Two buffers make one barrier a piece enough. The bytes are rung 6's. Whole tiles
// need no questions about edges: 512 of 563 instructions a piece multiply and add; rung 6 has 612.
// Two blocks fit a multiprocessor, for the compiler is held to 128 registers a thread.
extern "C" __global__ void __launch_bounds__(256, 2) sgemm_pipelined(
    const float* a, const float* b, float* c, int m, int n, int k)
{
    multiply_pipelined<128>(a, b, c, m, n, k);
}

// 8. Wide: a block computes 128 x 256 numbers and a thread 8 x 16. Six loads from shared memory give
// 128 multiply-adds, where rung 7 has four for 64; global memory gives 6 / 128 bytes for each; 1,024 of
// 1,092 instructions a piece multiply and add. A thread has 220 registers: one block fits, and a
// scheduler has two warps to choose from instead of four. That is enough while nothing is waited for.
extern "C" __global__ void __launch_bounds__(256) sgemm_wide(
    const float* a, const float* b, float* c, int m, int n, int k)
{
    multiply_pipelined<256>(a, b, c, m, n, k);
}
