//! The rectified linear unit, as PyTorch's `nn.ReLU`, element by element.
//!
//! ```text
//! y   = x   where x > 0, else 0
//! d_x = d_y where x > 0, else 0
//! ```
//!
//! NaN stays NaN. All tensors are of one shape.
//!
//! Source: Nair and Hinton, *Rectified Linear Units Improve Restricted Boltzmann Machines*,
//! ICML 2010. At 0 the gradient is 0, as in PyTorch.

pub mod lanes;
pub mod reference;
