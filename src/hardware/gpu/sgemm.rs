//! The ladder of `kernels/sgemm.cu`: what each rung is called, and how much of the product one of its
//! blocks computes.

use super::{Argument, Gpu, GpuError, Grid};

/// Threads of a block.
const THREADS: u32 = 256;

/// A way of computing a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Its kernel.
    pub kernel: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Rows and columns of the product that a block computes; none where each of its threads
    /// computes a number.
    tile: Option<[usize; 2]>,
}

/// All of them, each with one idea more than the one before.
pub const LADDER: [Rung; 8] = [
    Rung {
        kernel: "sgemm_naive",
        about: "a thread a number, neighbours a row apart",
        tile: None,
    },
    Rung {
        kernel: "sgemm_coalesced",
        about: "neighbours a column apart",
        tile: None,
    },
    Rung {
        kernel: "sgemm_shared",
        about: "a tile of 32 x 32 in shared memory",
        tile: Some([32, 32]),
    },
    Rung {
        kernel: "sgemm_registers",
        about: "a tile of 4 x 4 in each thread's registers",
        tile: Some([64, 64]),
    },
    Rung {
        kernel: "sgemm_vector",
        about: "8 x 8 in registers, four numbers a load",
        tile: Some([128, 128]),
    },
    Rung {
        kernel: "sgemm_warp",
        about: "a tile of 64 x 32 a warp",
        tile: Some([128, 128]),
    },
    Rung {
        kernel: "sgemm_pipelined",
        about: "the next numbers are fetched while the present are multiplied",
        tile: Some([128, 128]),
    },
    Rung {
        kernel: "sgemm_wide",
        about: "8 x 16 in registers, and half the warps",
        tile: Some([128, 256]),
    },
];

impl Rung {
    /// C = A B. A product without a number needs no kernel.
    ///
    /// - `a`: (M, K), `b`: (K, N), `c`: (M, N), written; all row-major, and on boundaries of 16 bytes,
    ///   as memory is that was just allocated
    ///
    /// # Errors
    /// If a matrix has 2^31 numbers or more, or the kernel cannot be run.
    ///
    /// # Safety
    /// The memories must be at least as large as these sizes say.
    pub unsafe fn launch<G: Gpu>(
        &self,
        gpu: &G,
        [m, n, k]: [usize; 3],
        a: &G::Memory,
        b: &G::Memory,
        c: &G::Memory,
    ) -> Result<(), GpuError> {
        for size in [m * n, m * k, k * n] {
            self.int(size)?;
        }
        let blocks = match self.tile {
            Some([rows, columns]) => m.div_ceil(rows) * n.div_ceil(columns),
            None => (m * n).div_ceil(THREADS as usize),
        };
        if blocks == 0 {
            return Ok(());
        }
        let arguments = [
            Argument::Memory(a, 0),
            Argument::Memory(b, 0),
            Argument::Memory(c, 0),
            Argument::I32(self.int(m)?),
            Argument::I32(self.int(n)?),
            Argument::I32(self.int(k)?),
        ];
        let grid = Grid {
            blocks: self.int(blocks)?.unsigned_abs(),
            threads: THREADS,
            shared: 0,
        };
        // SAFETY: these are the arguments of every kernel of the ladder; the rest is the caller's.
        unsafe { gpu.launch(self.kernel, grid, &arguments) }
    }

    fn int(&self, size: usize) -> Result<i32, GpuError> {
        i32::try_from(size).map_err(|_| GpuError::new(self.kernel, format!("{size} numbers")))
    }
}
