//! The first parameters: drawn as PyTorch's defaults for `Conv2d` and `Linear`, or taken over from
//! another network.
//!
//! Drawn weights and biases are uniform in `[-b, b)` with `b = 1 / sqrt(fan_in)`, where `fan_in` is the
//! number of inputs of one output. PyTorch writes the weights' bound as Kaiming's uniform with
//! `a = sqrt(5)`, which is the same number. (He, Zhang, Ren, Sun, *Delving Deep into
//! Rectifiers*, 2015; `reset_parameters` of both modules.)

use thiserror::Error;

use super::{Network, Operation};
use crate::random::{Purpose, Stream};
use crate::tensor::Element;

/// The flat vector of parameters that `seed` draws for `network`.
///
/// Each number depends on the seed, its layer's index, the layer's fan-in and its place alone, so
/// a layer keeps its first values when another is changed in ways that it does not see.
pub fn initial_parameters<T: Element>(network: &Network, seed: u64) -> Vec<T> {
    let mut parameters = vec![T::zero(); network.parameter_count()];
    for (index, layer) in network.layers().iter().enumerate() {
        let fan_in = match &layer.operation {
            Operation::Conv2d(conv) => conv.fan_in(),
            Operation::Linear(linear) => linear.in_features,
            Operation::Relu
            | Operation::MaxPool2d(_)
            | Operation::Flatten
            | Operation::Dropout(_) => continue,
        };
        let bound = 1.0 / (fan_in as f64).sqrt();
        let draws = Stream::new(seed, Purpose::Initialisation, index as u32);
        let values = &mut parameters[layer.weight.start..layer.bias.end];
        for (place, value) in values.iter_mut().enumerate() {
            // By way of f32, so that f32 and f64 begin with the same numbers.
            let draw = (bound * (2.0 * draws.uniform(place as u64) - 1.0)) as f32;
            *value = T::from_f64(f64::from(draw));
        }
    }
    parameters
}

/// Weights that cannot begin a network's training.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransferError {
    /// Another number of tensors.
    #[error("they are {found} tensors, the network `{network}` has {expected}")]
    Count {
        /// The network.
        network: String,
        /// How many it has.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A tensor of another shape, not of the last layer.
    #[error("their tensor {name} is of shape {found:?}, where the network has {expected:?}")]
    Shape {
        /// Its name in the weights.
        name: String,
        /// The network's.
        expected: Vec<usize>,
        /// What there is.
        found: Vec<usize>,
    },
}

/// First parameters for `network` from the `parameters` of another, tensor by tensor in their
/// order, whatever layers without parameters lie between. The last layer may have another number
/// of outputs: its tensors are then drawn from `seed`, and named beside the vector.
///
/// # Errors
/// Naming what does not fit.
pub fn transferred_parameters(
    network: &Network,
    seed: u64,
    from: &Network,
    parameters: &[f32],
) -> Result<(Vec<f32>, Vec<String>), TransferError> {
    let (tensors, given) = (network.parameters(), from.parameters());
    if tensors.len() != given.len() {
        return Err(TransferError::Count {
            network: network.to_string(),
            expected: tensors.len(),
            found: given.len(),
        });
    }
    let mut transferred = initial_parameters(network, seed);
    let mut drawn = Vec::new();
    let last = tensors.last().map(|tensor| tensor.layer);
    let fits = |layer| {
        let tensors = tensors.iter().zip(given);
        let mut of_layer = tensors.filter(|(tensor, _)| tensor.layer == layer);
        of_layer.all(|(tensor, given)| tensor.shape == given.shape)
    };
    for (tensor, given) in tensors.iter().zip(given) {
        if fits(tensor.layer) {
            let values = &parameters[given.range.clone()];
            transferred[tensor.range.clone()].copy_from_slice(values);
        } else if Some(tensor.layer) == last && tensor.shape[1..] == given.shape[1..] {
            drawn.push(tensor.name.clone());
        } else {
            return Err(TransferError::Shape {
                name: given.name.clone(),
                expected: tensor.shape.clone(),
                found: given.shape.clone(),
            });
        }
    }
    Ok((transferred, drawn))
}
