//! What a network is: its layers and their shapes, and where each parameter lies in one flat
//! vector.
//!
//! [`text`] reads and writes networks as people type them, [`presets`] names some,
//! [`initialisation`] draws the first parameters. Nothing here computes.

pub mod initialisation;
pub mod presets;
pub mod text;

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::layers::conv2d::Conv2d;
use crate::layers::dropout::Dropout;
use crate::layers::linear::Linear;
use crate::layers::max_pool2d::MaxPool2d;
use crate::layers::{MAX_ELEMENTS, Misfit, Shape};
pub use presets::Preset;
pub use text::{Description, LayerText, TextError};

/// The most layers that a network may have.
pub const MAX_LAYERS: usize = 1000;

/// A description that makes no network.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum NetworkError {
    /// The text cannot be read.
    #[error(transparent)]
    Text(#[from] TextError),
    /// No input shape is known.
    #[error(
        "the network names no input, and there is no data to take it from: begin it with `input CxHxW`, as in `input 1x28x28`"
    )]
    NoInput,
    /// The network was described for another input.
    #[error("the network is for an input of {}, not of {}", Shape::Image(*.named), Shape::Image(*.given))]
    OtherInput {
        /// What the text says.
        named: [usize; 3],
        /// What the data has.
        given: [usize; 3],
    },
    /// The input has no pixel, or too many.
    #[error("input {}: every size must be at least 1, and all together at most {MAX_ELEMENTS} elements", Shape::Image(*.0))]
    Input([usize; 3]),
    /// There is no layer.
    #[error("the network has no layer")]
    Empty,
    /// More than [`MAX_LAYERS`].
    #[error("{0} layers; a network has at most {MAX_LAYERS}")]
    TooManyLayers(usize),
    /// A layer does not fit what comes before it.
    #[error("layer {number} ({text}) does not fit its input {input}: {misfit}")]
    Layer {
        /// Which layer, the first being 1.
        number: usize,
        /// The layer as text.
        text: String,
        /// What it is given.
        input: Shape,
        /// Why it does not fit.
        misfit: Misfit,
    },
    /// All layers together need too much.
    #[error("layers 1 to {number} have more than {MAX_ELEMENTS} {what} together")]
    TooLarge {
        /// The layer at which the limit is passed, the first being 1.
        number: usize,
        /// Parameters or activations.
        what: &'static str,
    },
    /// A classifier ends in a vector, one number a class.
    #[error(
        "the network ends in {output}: to tell {classes} classes apart it must end in a vector of at least {classes}"
    )]
    Classes {
        /// How the network ends.
        output: Shape,
        /// How many classes there are.
        classes: usize,
    },
}

/// What a layer computes, with all its sizes.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// [`crate::layers::conv2d`]
    Conv2d(Conv2d),
    /// [`crate::layers::relu`]
    Relu,
    /// [`crate::layers::max_pool2d`]
    MaxPool2d(MaxPool2d),
    /// [`crate::layers::flatten`]
    Flatten,
    /// [`crate::layers::linear`]
    Linear(Linear),
    /// [`crate::layers::dropout`]
    Dropout(Dropout),
}

/// One layer in its place: what it computes, from which shape to which, with which parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What it computes.
    pub operation: Operation,
    /// One example before it.
    pub input: Shape,
    /// One example after it.
    pub output: Shape,
    /// Its weight's place in the flat vector; empty for a layer without parameters.
    pub weight: Range<usize>,
    /// Its bias's place, which begins where the weight ends.
    pub bias: Range<usize>,
}

impl Layer {
    /// Its part of a flat vector of gradients, as weight and bias.
    pub fn split_mut<'a, T>(&self, flat: &'a mut [T]) -> (&'a mut [T], &'a mut [T]) {
        flat[self.weight.start..self.bias.end].split_at_mut(self.weight.len())
    }

    /// Whether it has something to train.
    pub fn has_parameters(&self) -> bool {
        !self.weight.is_empty()
    }

    /// Floating-point operations of the products in one example's forward pass.
    pub fn forward_flops(&self) -> u64 {
        match &self.operation {
            Operation::Conv2d(conv) => conv.flops(),
            Operation::Linear(linear) => linear.flops(),
            Operation::Relu
            | Operation::MaxPool2d(_)
            | Operation::Flatten
            | Operation::Dropout(_) => 0,
        }
    }

    /// Floating-point operations of the products in one example's backward pass: one product for
    /// the weight and, if that is wanted, one for the input.
    pub fn backward_flops(&self, d_x_wanted: bool) -> u64 {
        self.forward_flops() * if d_x_wanted { 2 } else { 1 }
    }
}

/// A named tensor in the flat vector of parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// PyTorch's name, as in `conv1.0.weight`.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// Its place in the flat vector, row-major.
    pub range: Range<usize>,
    /// The index of its layer in [`Network::layers`].
    pub layer: usize,
}

/// A network: layers whose shapes fit, and the table of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    description: Description,
    input: [usize; 3],
    layers: Vec<Layer>,
    parameters: Vec<Parameter>,
}

impl Network {
    /// Infers every shape of `description`, for images of `input` (C, H, W) where it names none.
    ///
    /// # Errors
    /// If a layer does not fit, if the two name different inputs or neither names one, or if a
    /// limit is passed: [`MAX_LAYERS`], and [`MAX_ELEMENTS`] for any tensor of one image, all
    /// activations and columns of one image together, and all parameters together. Nothing is allocated
    /// before.
    pub fn new(description: &Description, input: Option<[usize; 3]>) -> Result<Self, NetworkError> {
        let input = match (description.input, input) {
            (Some(named), Some(given)) if named != given => {
                return Err(NetworkError::OtherInput { named, given });
            }
            (Some(input), _) | (None, Some(input)) => input,
            (None, None) => return Err(NetworkError::NoInput),
        };
        if input.contains(&0) || crate::layers::checked_elements("input", &input).is_err() {
            return Err(NetworkError::Input(input));
        }
        let count = description.layers.len();
        if count == 0 {
            return Err(NetworkError::Empty);
        }
        if count > MAX_LAYERS {
            return Err(NetworkError::TooManyLayers(count));
        }

        let mut layers = Vec::with_capacity(count);
        let mut parameters = Vec::new();
        let mut shape = Shape::Image(input);
        let (mut offset, mut activations) = (0, shape.elements());
        for (index, text) in description.layers.iter().enumerate() {
            let number = index + 1;
            let (operation, output) = infer(text, shape).map_err(|misfit| NetworkError::Layer {
                number,
                text: text.to_string(),
                input: shape,
                misfit,
            })?;
            activations += output.elements() + columns(&operation);
            if activations > MAX_ELEMENTS {
                let what = "activations and columns";
                return Err(NetworkError::TooLarge { number, what });
            }
            let mut places = [offset..offset, offset..offset];
            for ((place, kind), sizes) in places
                .iter_mut()
                .zip(["weight", "bias"])
                .zip(parameter_shapes(&operation))
            {
                *place = offset..offset + sizes.iter().product::<usize>();
                offset = place.end;
                parameters.push(Parameter {
                    name: format!("{}.{kind}", presets::module_name(description, index)),
                    shape: sizes,
                    range: place.clone(),
                    layer: index,
                });
            }
            if offset > MAX_ELEMENTS {
                let what = "parameters";
                return Err(NetworkError::TooLarge { number, what });
            }
            let [weight, bias] = places;
            layers.push(Layer {
                operation,
                input: shape,
                output,
                weight,
                bias,
            });
            shape = output;
        }
        Ok(Self {
            description: Description {
                input: Some(input),
                layers: description.layers.clone(),
            },
            input,
            layers,
            parameters,
        })
    }

    /// The network as text, with its input.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// One image: channels, height, width.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// One example behind the last layer.
    pub fn output(&self) -> Shape {
        match self.layers.last() {
            Some(layer) => layer.output,
            None => Shape::Image(self.input),
        }
    }

    /// The layers, first to last; at least one.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The named tensors, in the order of the flat vector, which they fill without a gap.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The length of the flat vector.
    pub fn parameter_count(&self) -> usize {
        self.parameters.last().map_or(0, |last| last.range.end)
    }

    /// PyTorch's name of the layer at `index` in [`Network::layers`]: as in `conv1.0` where the
    /// preset has such names, else the index, as in `nn.Sequential`.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn module_name(&self, index: usize) -> String {
        assert!(index < self.layers.len(), "no layer {index}");
        presets::module_name(&self.description, index)
    }

    /// How many numbers one image is from the input to the output: its pixels, and the elements
    /// behind every layer.
    pub fn activation_elements(&self) -> u64 {
        let outputs = self.layers.iter().map(|layer| layer.output.elements());
        let input = Shape::Image(self.input).elements();
        outputs.chain([input]).map(|count| count as u64).sum()
    }

    /// Checks that the network can tell `classes` classes apart.
    ///
    /// # Errors
    /// If it ends in an image, or in fewer numbers.
    pub fn check_classes(&self, classes: usize) -> Result<(), NetworkError> {
        match self.output() {
            Shape::Features(outputs) if outputs >= classes => Ok(()),
            output => Err(NetworkError::Classes { output, classes }),
        }
    }

    /// Floating-point operations of one image's forward pass.
    pub fn forward_flops(&self) -> u64 {
        self.layers.iter().map(Layer::forward_flops).sum()
    }

    /// Floating-point operations of one image's training step, forward and backward.
    pub fn training_flops(&self) -> u64 {
        let layers = self.layers.iter().enumerate();
        layers
            .map(|(index, layer)| {
                layer.forward_flops() + layer.backward_flops(self.trains_before(index))
            })
            .sum()
    }

    /// Whether a layer before the one at `index` has parameters: else training needs no gradient by
    /// this one's input.
    pub fn trains_before(&self, index: usize) -> bool {
        self.parameters
            .first()
            .is_some_and(|first| first.layer < index)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.description.fmt(f)
    }
}

/// The operation that `text` means on an input of `shape`, and the shape behind it.
fn infer(text: &LayerText, shape: Shape) -> Result<(Operation, Shape), Misfit> {
    Ok(match (*text, shape) {
        (LayerText::Relu, _) => (Operation::Relu, shape),
        (LayerText::Dropout { p }, _) => (Operation::Dropout(Dropout::new(p)?), shape),
        (LayerText::Flatten, _) => (Operation::Flatten, Shape::Features(shape.elements())),
        (
            LayerText::Conv2d {
                out_channels,
                window,
            },
            Shape::Image(input),
        ) => {
            let conv = Conv2d::new(input, out_channels, window)?;
            (Operation::Conv2d(conv), Shape::Image(conv.y()))
        }
        (LayerText::MaxPool2d { window }, Shape::Image(input)) => {
            let pool = MaxPool2d::new(input, window)?;
            (Operation::MaxPool2d(pool), Shape::Image(pool.y()))
        }
        (LayerText::Linear { out_features }, Shape::Features(in_features)) => {
            let linear = Linear::new(in_features, out_features)?;
            (Operation::Linear(linear), Shape::Features(out_features))
        }
        (LayerText::Conv2d { .. } | LayerText::MaxPool2d { .. }, Shape::Features(_)) => {
            return Err(Misfit::NeedsImage);
        }
        (LayerText::Linear { .. }, Shape::Image(_)) => return Err(Misfit::NeedsFeatures),
    })
}

/// The elements of the matrix that a convolution's windows are copied to.
fn columns(operation: &Operation) -> usize {
    match operation {
        Operation::Conv2d(conv) => conv.fan_in() * conv.windows(),
        _ => 0,
    }
}

/// The shapes of an operation's weight and bias, if it has them.
fn parameter_shapes(operation: &Operation) -> Vec<Vec<usize>> {
    match operation {
        Operation::Conv2d(conv) => vec![conv.weight().to_vec(), vec![conv.out_channels]],
        Operation::Linear(linear) => vec![linear.weight().to_vec(), vec![linear.out_features]],
        Operation::Relu | Operation::MaxPool2d(_) | Operation::Flatten | Operation::Dropout(_) => {
            vec![]
        }
    }
}
