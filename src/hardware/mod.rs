//! What the machine gives: matrix products at its speed, vectors, threads that work in step, GPUs.

mod gemm;
pub mod gpu;
pub mod lanes;
pub mod workers;

pub use gemm::{Target, gemm};
