//! [safetensors](https://github.com/huggingface/safetensors) files, which PyTorch loads as they
//! are (`safetensors.torch.load_file`).
//!
//! The tensors are the network's parameters, `f32`, under PyTorch's names. The metadata hold one
//! entry, `longhand`: JSON with the network's text, the normalisation, the classes' names, and what
//! the model was trained on. One entry, because the order of several is not fixed, and the same model should be
//! the same file.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::weights::{About, ModelFault, Tensors};
use crate::data::Normalisation;
use crate::model::Model;
use crate::network::{Description, Network};

/// The metadata's key.
const KEY: &str = "longhand";

/// What a file of weights says about itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Metadata {
    version: String,
    network: String,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    /// Files of before there were names have none.
    #[serde(default)]
    classes: Vec<String>,
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
        classes: model.class_names.clone(),
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

impl Metadata {
    /// What they say of the model; an error if it is another network than `asked`.
    pub fn described(self, asked: Option<&Description>) -> Result<About, ModelFault> {
        let metadata = self;
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
            .ok_or_else(|| {
                ModelFault::Metadata("mean and deviation do not suit the network".into())
            })?;
        if metadata.classes.len() > network.output().elements() {
            return Err(ModelFault::Metadata(
                "it names more classes than the network tells apart".into(),
            ));
        }
        Ok(About {
            network,
            normalisation,
            class_names: metadata.classes,
            trained_on: metadata.trained_on,
        })
    }
}

/// A file whose header has been read.
pub(super) struct Opened<'a> {
    tensors: SafeTensors<'a>,
    /// The names with the tensors' sizes.
    shapes: HashMap<String, Vec<usize>>,
    /// The metadata's entry, if there is one.
    metadata: Option<String>,
}

impl<'a> Opened<'a> {
    /// Reads the header of a file's bytes.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ModelFault> {
        let damaged =
            |error: safetensors::SafeTensorError| ModelFault::Safetensors(error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let shapes = tensors
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.shape().to_vec()));
        let metadata = header.metadata().as_ref().and_then(|map| map.get(KEY));
        Ok(Self {
            shapes: shapes.collect(),
            metadata: metadata.cloned(),
            tensors,
        })
    }

    /// What the file says about itself, if it is one of ours.
    pub fn metadata(&self) -> Result<Option<Metadata>, ModelFault> {
        let metadata = self.metadata.as_deref().map(serde_json::from_str);
        metadata
            .transpose()
            .map_err(|error| ModelFault::Metadata(error.to_string()))
    }
}

impl Tensors for Opened<'_> {
    fn names(&self) -> Vec<&str> {
        self.shapes.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    fn read(&mut self, name: &str, numbers: &mut [f32]) -> Result<(), ModelFault> {
        let Ok(tensor) = self.tensors.tensor(name) else {
            return Err(ModelFault::Missing(name.to_owned()));
        };
        if tensor.dtype() != Dtype::F32 {
            return Err(ModelFault::Type {
                name: name.to_owned(),
                found: format!("{:?}", tensor.dtype()),
            });
        }
        let (values, _) = tensor.data().as_chunks::<4>();
        for (number, &value) in numbers.iter_mut().zip(values) {
            *number = f32::from_le_bytes(value);
        }
        Ok(())
    }
}
