pub mod data;
pub mod digest;
pub mod engines;
mod error;
pub mod formats;
mod hardware;
pub mod layers;
pub mod model;
pub mod network;
pub mod optimisers;
pub mod pictures;
pub mod random;
pub mod tensor;
pub mod training;

pub use error::{Error, Result};
