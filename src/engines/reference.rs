//! The engine that follows the formulas: one image after another, one thread, in `f32` or `f64`.
//!
//! Read this one first. The others must give what it gives.

use ndarray::Array2;

use super::{
    Backward, Engine, EngineError, Metrics, check_batch, check_images, check_normalisation,
    check_state, check_tensors, outputs,
};
use crate::data::{Batch, Images, Normalisation};
use crate::layers::dropout::{self, Draws};
use crate::layers::{conv2d, cross_entropy, flatten, linear, max_pool2d, relu};
use crate::network::{Network, Operation};
use crate::optimisers::{StepRule, TrainingState};
use crate::tensor::{Element, Tensor};

/// Plain loops.
pub struct Reference<T = f32> {
    network: Network,
    normalisation: Normalisation,
    state: TrainingState<T>,
    /// The gradient of one batch, of the form of the parameters.
    d_parameters: Vec<T>,
    /// What stands before every layer, and behind the last: one image.
    activations: Vec<Vec<T>>,
    /// The gradients by the activations.
    d_activations: Vec<Vec<T>>,
}

impl<T: Element> Reference<T> {
    /// An engine for `network`, with all parameters 0.
    ///
    /// # Errors
    /// If the normalisation is for other channels than the network's.
    pub fn new(network: Network, normalisation: Normalisation) -> Result<Self, EngineError> {
        check_normalisation(&network, &normalisation)?;
        let parameters = vec![T::zero(); network.parameter_count()];
        let input = network.input().iter().product();
        let outputs = network.layers().iter().map(|layer| layer.output.elements());
        let activations: Vec<Vec<T>> = std::iter::once(input)
            .chain(outputs)
            .map(|elements| vec![T::zero(); elements])
            .collect();
        Ok(Self {
            d_parameters: parameters.clone(),
            state: TrainingState::from_parameters(parameters),
            d_activations: activations.clone(),
            activations,
            network,
            normalisation,
        })
    }

    /// From the first activation, which is filled, to the last, which is returned; in training
    /// with the `draws` of the example's step.
    fn forward(&mut self, draws: Option<Draws>) -> &[T] {
        let parameters = &self.state.parameters;
        for (index, layer) in self.network.layers().iter().enumerate() {
            let (before, behind) = self.activations.split_at_mut(index + 1);
            let (x, y) = (&before[index], &mut behind[0]);
            let weight = &parameters[layer.weight.clone()];
            let bias = &parameters[layer.bias.clone()];
            match &layer.operation {
                Operation::Conv2d(conv) => conv2d::reference::forward(conv, x, weight, bias, y),
                Operation::Relu => relu::reference::forward(x, y),
                Operation::MaxPool2d(pool) => max_pool2d::reference::forward(pool, x, y),
                Operation::Flatten => flatten::reference::forward(x, y),
                Operation::Linear(l) => linear::reference::forward(l, x, weight, bias, y),
                Operation::Dropout(d) => dropout::reference::forward(d, index, draws, x, y),
            }
        }
        &self.activations[self.network.layers().len()]
    }

    /// What [`Engine::backward`] draws for an example.
    fn check_draws(&self, example: usize) -> Draws {
        Draws {
            seed: 0,
            step: self.state.steps,
            example,
        }
    }

    /// What the network gives in [`Engine::backward`] for a normalised input of (N, C, H, W):
    /// (N, …), flat.
    pub(super) fn outputs(&mut self, input: &Tensor<T>) -> Vec<T> {
        let mut outputs = Vec::new();
        for (n, x) in input.outer_iter().enumerate() {
            copy(x.iter(), &mut self.activations[0]);
            outputs.extend_from_slice(self.forward(Some(self.check_draws(n))));
        }
        outputs
    }

    /// How near a normalised input of (N, C, H, W) brings the network to a kink: the smallest
    /// `|x|` before a ReLU, and the smallest lead in a pooling window. Exact zeros and ties do
    /// not count: they come from behind a ReLU or dropout, and stay.
    pub(super) fn margin(&mut self, input: &Tensor<T>) -> f64 {
        let mut margin = f64::INFINITY;
        for (n, x) in input.outer_iter().enumerate() {
            copy(x.iter(), &mut self.activations[0]);
            self.forward(Some(self.check_draws(n)));
            for (layer, x) in self.network.layers().iter().zip(&self.activations) {
                match &layer.operation {
                    Operation::Relu => {
                        let sizes = x.iter().map(|x| x.as_f64().abs());
                        margin = sizes.filter(|&size| size > 0.0).fold(margin, f64::min);
                    }
                    Operation::MaxPool2d(pool) => {
                        let leads = max_pool2d::reference::leads(pool, x);
                        margin = leads.filter(|&lead| lead > 0.0).fold(margin, f64::min);
                    }
                    Operation::Conv2d(_)
                    | Operation::Flatten
                    | Operation::Linear(_)
                    | Operation::Dropout(_) => {}
                }
            }
        }
        margin
    }

    /// From the last gradient, which is filled, to the first; `d_parameters` is added to.
    fn backward(&mut self, draws: Draws) {
        let parameters = &self.state.parameters;
        for (index, layer) in self.network.layers().iter().enumerate().rev() {
            let x = &self.activations[index];
            let (before, behind) = self.d_activations.split_at_mut(index + 1);
            let (d_x, d_y) = (&mut before[index], &behind[0]);
            let weight = &parameters[layer.weight.clone()];
            let (d_weight, d_bias) = layer.split_mut(&mut self.d_parameters);
            match &layer.operation {
                Operation::Conv2d(conv) => {
                    conv2d::reference::backward(conv, x, weight, d_y, d_x, d_weight, d_bias);
                }
                Operation::Relu => relu::reference::backward(x, d_y, d_x),
                Operation::MaxPool2d(pool) => max_pool2d::reference::backward(pool, x, d_y, d_x),
                Operation::Flatten => flatten::reference::backward(d_y, d_x),
                Operation::Linear(l) => {
                    linear::reference::backward(l, x, weight, d_y, d_x, d_weight, d_bias);
                }
                Operation::Dropout(d) => dropout::reference::backward(d, index, draws, d_y, d_x),
            }
        }
    }

    /// The gradient of the batch's mean loss, into `d_parameters`.
    fn batch_gradients(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError> {
        check_batch(&self.network, batch)?;
        let last = self.network.layers().len();
        self.d_parameters.fill(T::zero());
        let mut total = Metrics::default();
        for n in 0..batch.len() {
            let label = batch.label(n);
            let draws = Draws {
                seed: rule.seed,
                step: self.state.steps,
                example: n,
            };
            self.normalisation
                .apply(batch.image(n), &mut self.activations[0]);
            let logits = self.forward(Some(draws));
            let smoothing = rule.label_smoothing;
            total.add(Metrics::of(logits, label, smoothing));
            let (z, d_z) = (&self.activations[last], &mut self.d_activations[last]);
            cross_entropy::reference::backward(z, label, smoothing, batch.len(), d_z);
            self.backward(draws);
        }
        Ok(total)
    }
}

impl<T: Element> Engine<T> for Reference<T> {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn threads(&self) -> usize {
        1
    }

    fn load(&mut self, state: &TrainingState<T>) -> Result<(), EngineError> {
        check_state(&self.network, state)?;
        self.state.clone_from(state);
        Ok(())
    }

    fn state(&self) -> Result<TrainingState<T>, EngineError> {
        Ok(self.state.clone())
    }

    fn steps(&self) -> u64 {
        self.state.steps
    }

    fn backward(
        &mut self,
        input: &Tensor<T>,
        d_output: &Tensor<T>,
    ) -> Result<Backward<T>, EngineError> {
        check_tensors(&self.network, input, d_output)?;
        let last = self.network.layers().len();
        let mut output = Tensor::zeros(d_output.shape());
        let mut d_input = Tensor::zeros(input.shape());
        self.d_parameters.fill(T::zero());
        let examples = input.outer_iter().zip(d_output.outer_iter());
        let results = output.outer_iter_mut().zip(d_input.outer_iter_mut());
        for (n, ((x, d_y), (mut y, mut d_x))) in examples.zip(results).enumerate() {
            let draws = self.check_draws(n);
            copy(x.iter(), &mut self.activations[0]);
            copy(self.forward(Some(draws)).iter(), &mut y);
            copy(d_y.iter(), &mut self.d_activations[last]);
            self.backward(draws);
            copy(self.d_activations[0].iter(), &mut d_x);
        }
        Ok(Backward {
            output,
            d_input,
            d_parameters: self.d_parameters.clone(),
        })
    }

    fn gradients(
        &mut self,
        batch: &Batch,
        rule: &StepRule,
    ) -> Result<(Metrics, Vec<T>), EngineError> {
        let metrics = self.batch_gradients(batch, rule)?;
        Ok((metrics, self.d_parameters.clone()))
    }

    fn train_batch(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError> {
        let metrics = self.batch_gradients(batch, rule)?;
        rule.update(&mut self.state, &mut self.d_parameters);
        Ok(metrics)
    }

    fn predict(&mut self, images: &Images) -> Result<Array2<T>, EngineError> {
        check_images(&self.network, images.shape())?;
        let mut logits = Array2::zeros((images.len(), outputs(&self.network)?));
        for (n, mut logits) in logits.rows_mut().into_iter().enumerate() {
            self.normalisation
                .apply(images.image(n), &mut self.activations[0]);
            copy(self.forward(None).iter(), &mut logits);
        }
        Ok(logits)
    }
}

/// Copies numbers in their order, between a slice and a tensor of any shape.
fn copy<'a, T: Element>(
    from: impl Iterator<Item = &'a T>,
    to: impl IntoIterator<Item = &'a mut T>,
) {
    to.into_iter().zip(from).for_each(|(to, from)| *to = *from);
}
