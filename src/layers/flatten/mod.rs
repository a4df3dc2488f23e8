//! From an image to a vector, as PyTorch's `nn.Flatten`: (C, H, W) to (C H W).
//!
//! The numbers and their order stay as they are, so both passes are a copy:
//!
//! ```text
//! y = x
//! d_x = d_y
//! ```

pub mod reference;
