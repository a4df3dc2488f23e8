//! What the machine gives: matrix products at its speed, vectors, threads that work in step.

mod gemm;
pub mod lanes;
pub mod workers;

pub use gemm::{Target, gemm};
