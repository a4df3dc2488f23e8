//! Files with weights: a model is read from any of them, and written as safetensors.
//!
//! What a file is, its first bytes say, not its name: a zip archive is PyTorch's
//! ([`super::pth`]), anything else must be safetensors ([`super::safetensors`]). A model is the
//! same for both: exactly the network's tensors, `f32`, by name and shape.

use std::io;
use std::path::Path;

use thiserror::Error;

use super::{pth, safetensors};
use crate::data::Normalisation;
use crate::files::{read_at_most, write_whole};
use crate::layers::MAX_ELEMENTS;
use crate::model::Model;
use crate::network::{Description, Network, NetworkError, Preset};

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
    /// No safetensors file.
    #[error("no whole safetensors file: {0}")]
    Safetensors(String),
    /// No state dict as PyTorch saves it.
    #[error("no whole state dict of PyTorch's: {0}")]
    Pth(String),
    /// A file of PyTorch's before version 1.6.
    #[error("written by a PyTorch before version 1.6: load it there and save it again")]
    OldPth,
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

impl Model {
    /// The model in the file at `path`, safetensors or PyTorch's. `network` stands for the text
    /// that a file of bare weights lacks.
    ///
    /// # Errors
    /// With the path and the [`ModelFault`].
    pub fn open(path: &Path, network: Option<&Description>) -> Result<Self, ModelError> {
        let read = || decode(&read_at_most(path, MAX_FILE)?, network);
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
        const BYTES: &[u8] = include_bytes!("../../data/weights/tutorial.safetensors");
        decode(BYTES, None).map_err(|fault| ModelError {
            file: "the weights inside the program".to_owned(),
            fault,
        })
    }
}

/// Tensors by name, in a file whose table has been read.
pub(super) trait Tensors {
    /// The names, in any order.
    fn names(&self) -> Vec<&str>;

    /// The sizes of a tensor, if there is one of this name.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// The numbers of a tensor, row-major, as many as its shape says.
    fn read(&mut self, name: &str, numbers: &mut [f32]) -> Result<(), ModelFault>;
}

/// The model in a file's bytes. `network` stands for the text that a file of bare weights lacks.
///
/// # Errors
/// If the bytes are no file of weights, if no network is known or another is asked for than the
/// file says, or if its tensors are not exactly the network's. Nothing larger than the file is
/// allocated before that is known.
pub fn decode(bytes: &[u8], network: Option<&Description>) -> Result<Model, ModelFault> {
    if bytes.starts_with(pth::OLD_MAGIC) {
        return Err(ModelFault::OldPth);
    }
    if bytes.starts_with(pth::MAGIC) {
        let mut tensors = pth::StateDict::open(bytes)?;
        let about = bare(&tensors, network)?;
        return model(&mut tensors, about);
    }
    let mut tensors = safetensors::Opened::open(bytes)?;
    let about = match tensors.metadata()? {
        Some(metadata) => metadata.described(network)?,
        None => bare(&tensors, network)?,
    };
    model(&mut tensors, about)
}

/// All of a model but its parameters.
pub(super) struct About {
    pub network: Network,
    pub normalisation: Normalisation,
    pub class_names: Vec<String>,
    pub trained_on: String,
}

/// The model whose parameters are `tensors`, all of them.
fn model(tensors: &mut dyn Tensors, about: About) -> Result<Model, ModelFault> {
    let About {
        network,
        normalisation,
        class_names,
        trained_on,
    } = about;
    for parameter in network.parameters() {
        let name = &parameter.name;
        let Some(shape) = tensors.shape(name) else {
            return Err(ModelFault::Missing(name.clone()));
        };
        if shape != parameter.shape {
            return Err(ModelFault::Shape {
                name: name.clone(),
                expected: parameter.shape.clone(),
                found: shape.to_vec(),
            });
        }
    }
    let known = |name: &str| network.parameters().iter().any(|p| p.name == name);
    let mut names = tensors.names();
    names.sort_unstable();
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return Err(ModelFault::Unknown((*unknown).to_owned()));
    }
    let mut parameters = Vec::new();
    for parameter in network.parameters() {
        parameters.resize(parameter.range.end, 0.0);
        let numbers = &mut parameters[parameter.range.clone()];
        tensors.read(&parameter.name, numbers)?;
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(ModelFault::NotFinite(parameter.name.clone()));
        }
    }
    Ok(Model {
        network,
        normalisation,
        parameters,
        class_names,
        trained_on,
    })
}

/// Bare weights: of the network that was asked for, or else of the preset whose tensors have the
/// same names and shapes. They are taken to be MNIST's.
fn bare(tensors: &dyn Tensors, asked: Option<&Description>) -> Result<About, ModelFault> {
    const MNIST: [usize; 3] = [1, 28, 28];
    let network = match asked {
        Some(asked) => Network::new(asked, asked.input.or(Some(MNIST)))?,
        None => {
            // The number of classes is the length of some bias.
            let shapes = tensors
                .names()
                .into_iter()
                .filter_map(|name| tensors.shape(name));
            let mut lengths: Vec<usize> = shapes
                .filter_map(|shape| match *shape {
                    [length] => Some(length),
                    _ => None,
                })
                .collect();
            lengths.sort_unstable();
            lengths.dedup();
            let count = tensors.names().len();
            lengths
                .into_iter()
                .flat_map(|classes| Preset::ALL.map(|preset| preset.description(classes)))
                .filter_map(|description| Network::new(&description, Some(MNIST)).ok())
                .find(|network| {
                    count == network.parameters().len()
                        && network.parameters().iter().all(|parameter| {
                            tensors.shape(&parameter.name) == Some(&parameter.shape[..])
                        })
                })
                .ok_or(ModelFault::NoNetwork)?
        }
    };
    let normalisation = Normalisation::assumed(network.input()[0]);
    Ok(About {
        network,
        normalisation,
        class_names: Vec::new(),
        trained_on: "unknown data".to_owned(),
    })
}
