//! The first parameters: PyTorch's defaults for `Conv2d` and `Linear`.
//!
//! Weights and biases are uniform in `[-b, b)` with `b = 1 / sqrt(fan_in)`, where `fan_in` is the
//! number of inputs of one output. PyTorch writes the weights' bound as Kaiming's uniform with
//! `a = sqrt(5)`, which is the same number. (He, Zhang, Ren, Sun, *Delving Deep into
//! Rectifiers*, 2015; `reset_parameters` of both modules.)

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
            Operation::Relu | Operation::MaxPool2d(_) | Operation::Flatten => continue,
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
