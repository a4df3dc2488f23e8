//! Networks that have a name.

use std::str::FromStr;

use super::text::{Description, LayerText};

/// A network with a name. Its last layer follows the number of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// The name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The text, without the last layer.
    text: &'static str,
    /// PyTorch's module names of the layers, where they are not the layers' indices.
    modules: Option<&'static [&'static str]>,
}

/// The default: the tutorial's convolutional network, with its module names (`conv1` and `conv2`
/// are each an `nn.Sequential` of convolution, ReLU and pooling; `fc` is one of two linear
/// layers).
pub const TUTORIAL: Preset = Preset {
    name: "tutorial",
    about: "the PyTorch tutorial's convnet, 21,840 parameters",
    text: "conv2d 10 5, relu, max_pool2d 2, conv2d 20 5, relu, max_pool2d 2, flatten, linear 50",
    modules: Some(&[
        "conv1.0", "conv1.1", "conv1.2", "conv2.0", "conv2.1", "conv2.2", "flatten", "fc.0", "fc.1",
    ]),
};

/// The sizes of LeNet-5 with ReLU and maximum pooling (LeCun, Bottou, Bengio, Haffner,
/// *Gradient-Based Learning Applied to Document Recognition*, 1998, where images were padded to
/// 32 x 32).
pub const LENET5: Preset = Preset {
    name: "lenet5",
    about: "LeNet-5 of 1998 with ReLU and maximum pooling, 61,706 parameters",
    text: "conv2d 6 5 padding=2, relu, max_pool2d 2, conv2d 16 5, relu, max_pool2d 2, flatten, \
           linear 120, relu, linear 84, relu",
    modules: None,
};

/// One hidden layer of 128.
pub const MLP: Preset = Preset {
    name: "mlp",
    about: "784-128-10 with ReLU, no convolution, 101,770 parameters",
    text: "flatten, linear 128, relu",
    modules: None,
};

impl Preset {
    /// All of them, the default first.
    pub const ALL: [Preset; 3] = [TUTORIAL, LENET5, MLP];

    /// The preset called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name == name)
    }

    /// Its layers, the last with one output a class.
    pub fn description(&self, classes: usize) -> Description {
        let mut description =
            Description::from_str(self.text).expect("a preset's text is a network");
        description.layers.push(LayerText::Linear {
            out_features: classes,
        });
        description
    }

    /// Whether `description` has this preset's layers, for any number of classes and any input.
    pub fn matches(&self, description: &Description) -> bool {
        match description.layers.last() {
            Some(LayerText::Linear { out_features }) => {
                description.layers == self.description(*out_features).layers
            }
            _ => false,
        }
    }
}

/// The name that the layer's tensors have before the dot of `.weight`: PyTorch's module name for
/// a network that has such, else the layer's index, as in `nn.Sequential`.
pub(super) fn module_name(description: &Description, layer: usize) -> String {
    match TUTORIAL.modules {
        Some(modules) if TUTORIAL.matches(description) => modules[layer].to_owned(),
        _ => layer.to_string(),
    }
}
