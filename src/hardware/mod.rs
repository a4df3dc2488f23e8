//! What the machine gives: matrix products at its speed.

mod gemm;

pub(crate) use gemm::{Target, gemm};
