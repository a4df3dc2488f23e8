//! A GPU as the CUDA engine sees it: memory, copies and kernels by name. What it is, a device behind
//! the driver or kernels that are run on the CPU for the tests, the engine need not know.

pub mod device;
pub mod kernels;
pub mod nvrtc;
pub mod peak;
pub mod sgemm;

use std::fmt;

use thiserror::Error;

pub use device::Device;

/// A call that a GPU did not do: which, and what it said.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("GPU: {call}: {reason}")]
pub struct GpuError {
    /// The call, or the kernel.
    pub call: String,
    /// What was wrong.
    pub reason: String,
}

impl GpuError {
    /// What was wrong with a call.
    pub fn new(call: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            call: call.into(),
            reason: reason.to_string(),
        }
    }
}

/// The sizes of a layer with windows, as `kernels/shapes.h` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "the header names them")]
pub struct Windows {
    pub n: i32,
    pub c: i32,
    pub h: i32,
    pub w: i32,
    pub o: i32,
    pub oh: i32,
    pub ow: i32,
    pub kh: i32,
    pub kw: i32,
    pub stride_h: i32,
    pub stride_w: i32,
    pub padding_h: i32,
    pub padding_w: i32,
}

/// The sizes of a linear layer, as `kernels/shapes.h` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "the header names them")]
pub struct Linear {
    pub n: i32,
    pub i: i32,
    pub o: i32,
}

/// A layer of a classifier, as `kernels/shapes.h` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
#[allow(missing_docs, reason = "the header names them")]
pub struct Dense {
    /// 0 linear, 1 ReLU, 2 dropout.
    pub kind: i32,
    pub inputs: i32,
    pub outputs: i32,
    pub weight: i32,
    pub bias: i32,
    pub x: i32,
    pub y: i32,
    pub scale: f32,
    pub threshold: u32,
    pub number: u32,
}

/// The layers at a network's end, as `kernels/shapes.h` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
#[allow(missing_docs, reason = "the header names them")]
pub struct Classifier {
    pub layers: i32,
    pub width: i32,
    pub of: [Dense; 8],
}

/// Something to divide by, as `kernels/shapes.h` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Divisor {
    by: i32,
    factor: u32,
}

impl Divisor {
    /// None for 0 and for what is no whole number of 32 bits.
    pub fn new(by: usize) -> Option<Self> {
        let by = i32::try_from(by).ok().filter(|&by| by > 0)?;
        Some(Self {
            by,
            factor: (1_u32 << 31).div_ceil(by.unsigned_abs()),
        })
    }

    /// The divisor itself.
    pub fn by(&self) -> usize {
        self.by.unsigned_abs() as usize
    }
}

/// A convolution with ReLU and max-pool of 2 x 2, as `kernels/shapes.h` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "the header names them")]
pub struct Convolution {
    pub s: Windows,
    pub weight: i32,
    pub bias: i32,
    pub groups: Divisor,
    pub slices: i32,
    pub pixels: i32,
    pub inputs: Divisor,
    pub ow: Divisor,
    pub windows: Divisor,
    pub pw: Divisor,
    pub area: Divisor,
    pub width: Divisor,
    pub pitch: Divisor,
}

/// A small network, as `kernels/shapes.h` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
#[allow(missing_docs, reason = "the header names them")]
pub struct Convnet {
    pub convolutions: i32,
    pub of: [Convolution; 2],
    pub parts: Divisor,
    pub slices: i32,
    pub most: i32,
    pub members: Divisor,
    pub segments: Divisor,
    pub features: Divisor,
    pub sharers: i32,
    pub others: i32,
    pub classifier: Classifier,
}

/// An optimiser's update, as `kernels/optimisers.h` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
#[allow(missing_docs, reason = "the header names them")]
pub struct Update {
    /// 0 SGD, 1 Adam.
    pub kind: i32,
    pub penalty: f32,
    pub momentum: f32,
    pub nesterov: i32,
    pub beta1: f32,
    pub rest1: f32,
    pub beta2: f32,
    pub rest2: f32,
    pub eps: f32,
}

/// What a kernel is given.
#[derive(Debug)]
pub enum Argument<'a, B> {
    /// Memory, from a byte on.
    Memory(&'a B, usize),
    /// A whole number.
    I32(i32),
    /// One without sign.
    U32(u32),
    /// A large one without sign.
    U64(u64),
    /// A number.
    F32(f32),
    /// A precise one.
    F64(f64),
    /// Sizes.
    Windows(Windows),
    /// Sizes.
    Linear(Linear),
    /// Layers.
    Classifier(&'a Classifier),
    /// A network.
    Convnet(&'a Convnet),
    /// What is done with a gradient.
    Update(Update),
}

/// How a kernel is spread over a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// How many blocks, at least 1.
    pub blocks: u32,
    /// Threads of a block, 1 to 1024.
    pub threads: u32,
    /// Bytes of the memory that each block's threads share, beside what the kernel itself declares.
    pub shared: u32,
}

/// A GPU.
pub trait Gpu: Send {
    /// Memory on it. Kernels write through it though it is only lent to them.
    type Memory: Send;
    /// Launches that were recorded, to be run again.
    type Graph;
    /// Memory of the CPU's that the GPU writes while both go on.
    type Mirror;

    /// What it is called.
    fn name(&self) -> String;

    /// Memory of so many bytes, at least 1, aligned for any number. What is in it is anything.
    ///
    /// # Errors
    /// If there is not so much.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory, GpuError>;

    /// Copies bytes into memory, from its byte `at` on.
    ///
    /// # Errors
    /// If they do not fit.
    fn upload(&self, to: &Self::Memory, at: usize, bytes: &[u8]) -> Result<(), GpuError>;

    /// Waits for all kernels, and copies bytes from memory, from its byte `at` on.
    ///
    /// # Errors
    /// If there are not so many, or if a kernel failed.
    fn download(&self, from: &Self::Memory, at: usize, to: &mut [u8]) -> Result<(), GpuError>;

    /// A mirror of so many bytes, at least 1.
    ///
    /// # Errors
    /// If there is no memory for it.
    fn mirror(&self, bytes: usize) -> Result<Self::Mirror, GpuError>;

    /// Asks for memory's first bytes, as many as the mirror has, as they are behind all that was run
    /// before; and does not wait for them.
    ///
    /// # Errors
    /// If there are not so many, or if a kernel failed.
    fn ask(&self, from: &Self::Memory, mirror: &mut Self::Mirror) -> Result<(), GpuError>;

    /// What was asked for last, once it is there.
    ///
    /// # Errors
    /// If a kernel failed.
    fn answer<'a>(&self, mirror: &'a Self::Mirror) -> Result<Option<&'a [u8]>, GpuError>;

    /// Runs a kernel behind all that was run before.
    ///
    /// # Errors
    /// If it cannot be run.
    ///
    /// # Safety
    /// The arguments must be the kernel's, and the memory as large as it takes it to be.
    unsafe fn launch(
        &self,
        kernel: &'static str,
        grid: Grid,
        arguments: &[Argument<Self::Memory>],
    ) -> Result<(), GpuError>;

    /// Records what `launches` launches instead of running it; or None, where that cannot be recorded.
    /// Why not is met again by whoever launches the same without recording it.
    fn record<E>(&self, launches: impl FnOnce() -> Result<(), E>) -> Option<Self::Graph>
    where
        Self: Sized;

    /// Runs what was recorded, behind all that was run before.
    ///
    /// # Errors
    /// If it cannot be run.
    ///
    /// # Safety
    /// All memory that was recorded must still be there.
    unsafe fn replay(&self, graph: &Self::Graph) -> Result<(), GpuError>;
}
