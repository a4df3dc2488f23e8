//! A trained network: its layers, its weights, and how its pictures are normalised.

use crate::data::Normalisation;
use crate::network::Network;

/// A network with weights, and all that it takes to use them. [`crate::formats::weights`] reads
/// and writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The layers.
    pub network: Network,
    /// How pixels become numbers.
    pub normalisation: Normalisation,
    /// The flat vector that [`Network::parameters`] names.
    pub parameters: Vec<f32>,
    /// What it learned from, as [`crate::data::Data::name`] has it.
    pub trained_on: String,
}
