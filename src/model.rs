//! A trained network: its layers, its weights, and how its pictures are normalised.

use std::borrow::Cow;

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
    /// What the classes are called, from the first on; for those behind the last, and for all
    /// where nothing is known, their number is their name.
    pub class_names: Vec<String>,
    /// What it learned from, as [`crate::data::Data::name`] has it.
    pub trained_on: String,
}

impl Model {
    /// What a class is called.
    pub fn class_name(&self, class: usize) -> Cow<'_, str> {
        match self.class_names.get(class) {
            Some(name) => name.into(),
            None => class.to_string().into(),
        }
    }

    /// The same, if it is called otherwise than by its number.
    pub fn own_class_name(&self, class: usize) -> Option<&str> {
        let name = self.class_names.get(class)?;
        (*name != class.to_string()).then_some(name)
    }
}
