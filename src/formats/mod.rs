//! Files that are exchanged with other programs.

pub mod onnx;
pub mod pickle;
pub mod pth;
pub mod pytorch_program;
pub mod safetensors;
pub mod weights;
