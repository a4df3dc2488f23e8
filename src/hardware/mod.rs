//! What the machine gives: matrix products at its speed, vectors, lines of the cache, threads that
//! work in step, GPUs.

pub(crate) mod cache;
mod gemm;
pub mod gpu;
pub mod lanes;
pub mod workers;

pub use gemm::{Target, gemm};
