//! A trained network: its layers, its weights, and how its pictures are normalised.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use thiserror::Error;

use crate::data::Normalisation;
use crate::formats::{safetensors, write_whole};
use crate::layers::{MAX_ELEMENTS, Shape};
use crate::network::{Description, Network, NetworkError};

/// The largest file that is read as a model: the largest network's weights and 100 MB of header,
/// which is safetensors' own limit.
pub const MAX_FILE: u64 = 4 * MAX_ELEMENTS as u64 + 100_000_000;

/// A file that gives or takes no model: which one, and why.
#[derive(Debug, Error)]
#[error("{file}: {fault}")]
pub struct ModelError {
    /// The file's path.
    pub file: String,
    /// What is wrong with it.
    pub fault: ModelFault,
}

/// What can be wrong with a file of weights.
#[derive(Debug, Error)]
pub enum ModelFault {
    /// The operating system could not read or write.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// More than [`MAX_FILE`].
    #[error("larger than the {MAX_FILE} bytes that a model may have")]
    TooLarge,
    /// No safetensors file.
    #[error("no whole safetensors file: {0}")]
    Safetensors(String),
    /// The entry `longhand` of the metadata cannot be read.
    #[error("its metadata cannot be read: {0}")]
    Metadata(String),
    /// The network in the metadata, or the one asked for, is none.
    #[error("{0}")]
    Network(#[from] NetworkError),
    /// The file says one network, the caller another.
    #[error("the weights are those of `{file}`, not of `{asked}`")]
    OtherNetwork {
        /// What the file says.
        file: String,
        /// What was asked for.
        asked: String,
    },
    /// Bare weights of an unknown network.
    #[error(
        "it does not say which network its weights are of, and no preset has such: name it with --network"
    )]
    NoNetwork,
    /// A tensor is not there.
    #[error("tensor {0} is missing")]
    Missing(String),
    /// A tensor is there that the network does not have.
    #[error("the network has no tensor {0}")]
    Unknown(String),
    /// A tensor is not of type F32.
    #[error("tensor {name} is of type {found}, not F32")]
    Type {
        /// Its name.
        name: String,
        /// Its type.
        found: String,
    },
    /// A tensor has another shape.
    #[error("tensor {name} is of shape {found:?}, not {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// What the network has.
        expected: Vec<usize>,
        /// What the file has.
        found: Vec<usize>,
    },
    /// A weight is NaN or infinite.
    #[error("tensor {0} holds a number that is not finite")]
    NotFinite(String),
}

/// A network with weights, and all that it takes to use them.
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

impl Model {
    /// The model in the safetensors file at `path`. `network` stands for the text that a file of
    /// bare weights lacks.
    ///
    /// # Errors
    /// With the path and the [`ModelFault`].
    pub fn open(path: &Path, network: Option<&Description>) -> Result<Self, ModelError> {
        let read = || {
            let mut bytes = Vec::new();
            File::open(path)?
                .take(MAX_FILE + 1)
                .read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MAX_FILE {
                return Err(ModelFault::TooLarge);
            }
            safetensors::decode(&bytes, network)
        };
        read().map_err(|fault| ModelError {
            file: path.display().to_string(),
            fault,
        })
    }

    /// Writes the model to the safetensors file at `path`, whole or not at all.
    ///
    /// # Errors
    /// With the path and the [`ModelFault`].
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let write = || Ok(write_whole(path, &safetensors::encode(self)?)?);
        write().map_err(|fault| ModelError {
            file: path.display().to_string(),
            fault,
        })
    }

    /// The weights that the program carries: the `tutorial` network, trained on MNIST.
    ///
    /// # Errors
    /// None in an intact program.
    pub fn builtin() -> Result<Self, ModelError> {
        const BYTES: &[u8] = include_bytes!("../data/weights/tutorial.safetensors");
        safetensors::decode(BYTES, None).map_err(|fault| ModelError {
            file: "the weights inside the program".to_owned(),
            fault,
        })
    }

    /// One image: channels, height, width.
    pub fn input(&self) -> [usize; 3] {
        self.network.input()
    }

    /// The number of classes that it tells apart.
    pub fn classes(&self) -> usize {
        match self.network.output() {
            Shape::Features(classes) => classes,
            Shape::Image(_) => 0,
        }
    }
}
