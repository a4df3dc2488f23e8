pub mod digest;
pub mod data;
pub mod engines;
mod hardware;
pub mod layers;
pub mod network;
pub mod optimisers;
pub mod random;
pub mod tensor;
