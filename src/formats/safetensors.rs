//! Models as [safetensors](https://github.com/huggingface/safetensors) files, which PyTorch loads
//! as they are (`safetensors.torch.load_file`).
//!
//! The tensors are the network's parameters, `f32`, under PyTorch's names. The metadata hold one
//! entry, `longhand`: JSON with the network's text, the normalisation, and what the model was
//! trained on. One entry, because the order of several is not fixed, and the same model should be
//! the same file.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{read_at_most, write_whole};
use crate::data::Normalisation;
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
    /// The model in the safetensors file at `path`. `network` stands for the text that a file of
    /// bare weights lacks.
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
        let write = || Ok(write_whole(path, &encode(self)?)?);
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

/// The metadata's key.
const KEY: &str = "longhand";

/// What a file of weights says about itself.
#[derive(Serialize, Deserialize)]
struct Metadata {
    version: String,
    network: String,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    trained_on: String,
}

/// The bytes of a file that holds `model`.
///
/// # Errors
/// If there are not as many parameters as the network has.
pub fn encode(model: &Model) -> Result<Vec<u8>, ModelFault> {
    let count = model.network.parameter_count();
    if model.parameters.len() != count {
        return Err(ModelFault::Shape {
            name: "of all parameters".to_owned(),
            expected: vec![count],
            found: vec![model.parameters.len()],
        });
    }
    let metadata = Metadata {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: model.network.to_string(),
        mean: model.normalisation.mean().to_vec(),
        deviation: model.normalisation.deviation().to_vec(),
        trained_on: model.trained_on.clone(),
    };
    let metadata = serde_json::to_string(&metadata)
        .map_err(|error| ModelFault::Metadata(error.to_string()))?;
    let bytes: Vec<u8> = model
        .parameters
        .iter()
        .flat_map(|parameter| parameter.to_le_bytes())
        .collect();
    let tensors = model.network.parameters().iter().map(|parameter| {
        let bytes = &bytes[4 * parameter.range.start..4 * parameter.range.end];
        let tensor = TensorView::new(Dtype::F32, parameter.shape.clone(), bytes);
        tensor.map(|tensor| (parameter.name.as_str(), tensor))
    });
    let tensors: Vec<_> = tensors
        .collect::<Result<_, _>>()
        .map_err(|error| ModelFault::Safetensors(error.to_string()))?;
    let metadata = HashMap::from([(KEY.to_owned(), metadata)]);
    safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| ModelFault::Safetensors(error.to_string()))
}

/// The model in a file's bytes. `network` stands for the text that a file of bare weights lacks.
///
/// # Errors
/// If the bytes are no safetensors file, if no network is known or another is asked for than the
/// file says, or if its tensors are not exactly the network's.
pub fn decode(bytes: &[u8], network: Option<&Description>) -> Result<Model, ModelFault> {
    let damaged = |error: safetensors::SafeTensorError| ModelFault::Safetensors(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let metadata = header.metadata().as_ref().and_then(|map| map.get(KEY));
    let (network, normalisation, trained_on) = match metadata {
        Some(json) => described(json, network)?,
        None => bare(&tensors, network)?,
    };

    let mut parameters = vec![0.0; network.parameter_count()];
    for parameter in network.parameters() {
        let name = &parameter.name;
        let Ok(tensor) = tensors.tensor(name) else {
            return Err(ModelFault::Missing(name.clone()));
        };
        if tensor.dtype() != Dtype::F32 {
            return Err(ModelFault::Type {
                name: name.clone(),
                found: format!("{:?}", tensor.dtype()),
            });
        }
        if tensor.shape() != parameter.shape {
            return Err(ModelFault::Shape {
                name: name.clone(),
                expected: parameter.shape.clone(),
                found: tensor.shape().to_vec(),
            });
        }
        let (values, _) = tensor.data().as_chunks::<4>();
        for (parameter, &value) in parameters[parameter.range.clone()].iter_mut().zip(values) {
            *parameter = f32::from_le_bytes(value);
        }
        if !parameters[parameter.range.clone()]
            .iter()
            .all(|p| p.is_finite())
        {
            return Err(ModelFault::NotFinite(name.clone()));
        }
    }
    let known = |name: &str| network.parameters().iter().any(|p| p.name == name);
    let mut names = tensors.names();
    names.sort_unstable();
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return Err(ModelFault::Unknown((*unknown).to_owned()));
    }
    Ok(Model {
        network,
        normalisation,
        parameters,
        trained_on,
    })
}

/// What our own metadata say.
fn described(
    json: &str,
    asked: Option<&Description>,
) -> Result<(Network, Normalisation, String), ModelFault> {
    let metadata: Metadata =
        serde_json::from_str(json).map_err(|error| ModelFault::Metadata(error.to_string()))?;
    let description = metadata
        .network
        .parse::<Description>()
        .map_err(|error| ModelFault::Network(error.into()))?;
    let network = Network::new(&description, None)?;
    if let Some(asked) = asked
        && (asked.layers != description.layers
            || asked.input.is_some_and(|input| input != network.input()))
    {
        return Err(ModelFault::OtherNetwork {
            file: network.to_string(),
            asked: asked.to_string(),
        });
    }
    let normalisation = Normalisation::new(metadata.mean, metadata.deviation)
        .filter(|normalisation| normalisation.channels() == network.input()[0])
        .ok_or_else(|| ModelFault::Metadata("mean and deviation do not suit the network".into()))?;
    Ok((network, normalisation, metadata.trained_on))
}

/// Bare weights: of the network that was asked for, or else of the preset whose tensors have the
/// same names and shapes. They are taken to be MNIST's.
fn bare(
    tensors: &SafeTensors,
    asked: Option<&Description>,
) -> Result<(Network, Normalisation, String), ModelFault> {
    const MNIST: [usize; 3] = [1, 28, 28];
    let network = match asked {
        Some(asked) => Network::new(asked, asked.input.or(Some(MNIST)))?,
        None => {
            // The number of classes is the length of some bias.
            let lengths = tensors
                .iter()
                .filter(|(_, tensor)| tensor.shape().len() == 1);
            lengths
                .flat_map(|(_, tensor)| {
                    let classes = tensor.shape()[0];
                    Preset::ALL.map(|preset| preset.description(classes))
                })
                .filter_map(|description| Network::new(&description, Some(MNIST)).ok())
                .find(|network| {
                    tensors.len() == network.parameters().len()
                        && network.parameters().iter().all(|parameter| {
                            let tensor = tensors.tensor(&parameter.name);
                            tensor.is_ok_and(|tensor| tensor.shape() == parameter.shape)
                        })
                })
                .ok_or(ModelFault::NoNetwork)?
        }
    };
    let normalisation = Normalisation::assumed(network.input()[0]);
    Ok((network, normalisation, "unknown data".to_owned()))
}
