//! The rectified linear unit, as PyTorch's `nn.ReLU`, element by element.
//!
//! ```text
//! y   = 0 where x <= 0, else x
//! d_x = 0 where x <= 0, else d_y
//! ```
//!
//! NaN stays NaN. All tensors are of one shape.
//!
//! Source: Nair and Hinton, *Rectified Linear Units Improve Restricted Boltzmann Machines*,
//! ICML 2010. At 0 the gradient is 0, as in PyTorch.

pub mod lanes;
pub mod reference;
