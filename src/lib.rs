pub mod digest;
pub mod data;
pub mod engines;
pub mod layers;
pub mod network;
pub mod optimisers;
pub mod random;
pub mod tensor;
