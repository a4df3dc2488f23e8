//! Networks as people type them, both ways:
//! `input 1x28x28, conv2d 10 5 padding=2, relu, max_pool2d 2, flatten, linear 10`.
//!
//! Layers stand one after another, parted by commas or line ends; `#` begins a comment.
//!
//! | layer | what it means |
//! |---|---|
//! | `input CxHxW` | the shape of one image; may be left out where there is data |
//! | `conv2d O K [stride=S] [padding=P]` | O output channels, kernel K; stride 1, padding 0 |
//! | `relu` | |
//! | `max_pool2d K [stride=S] [padding=P]` | kernel K; stride K, padding 0 |
//! | `flatten` | |
//! | `linear O` | O output features |
//! | `dropout SHARE` | the share of elements that training drops, PyTorch's `p`: at least 0 and below 1 |
//!
//! K, S and P are one number, or height x width: `5`, `5x3`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::layers::Window;

/// A text that describes no network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("layer {number} ({text}): {fault}")]
pub struct TextError {
    /// Which layer, the first being 1; `input` counts as 0.
    pub number: usize,
    /// The layer as it was typed.
    pub text: String,
    /// What is wrong with it.
    pub fault: TextFault,
}

/// What can be wrong with the text of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TextFault {
    /// No layer has this name.
    #[error(
        "no layer is called `{0}`: there are conv2d, relu, max_pool2d, flatten, linear, dropout"
    )]
    Unknown(String),
    /// `input` stands behind a layer, or twice.
    #[error("`input` stands once, before all layers")]
    InputPlace,
    /// Something is missing.
    #[error("write it as `{0}`")]
    Usage(&'static str),
    /// Not a number, or not height x width.
    #[error("`{0}` is neither a number nor two as in 5x3")]
    Number(String),
    /// Not a share.
    #[error("`{0}` is not a share such as 0.5")]
    Share(String),
    /// Not channels x height x width.
    #[error("`{0}` is not channels x height x width, as in 1x28x28")]
    Input(String),
    /// An option that the layer does not have, or has already.
    #[error("`{0}` is no option here, or stands twice: there are stride=S and padding=P")]
    Option(String),
}

/// One layer as text, not yet placed in a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LayerText {
    /// `conv2d`
    Conv2d {
        /// The number of output channels.
        out_channels: usize,
        /// Kernel, stride and padding.
        window: Window,
    },
    /// `relu`
    Relu,
    /// `max_pool2d`
    MaxPool2d {
        /// Kernel, stride and padding.
        window: Window,
    },
    /// `flatten`
    Flatten,
    /// `linear`
    Linear {
        /// The number of output features.
        out_features: usize,
    },
    /// `dropout`
    Dropout {
        /// The share of elements that training drops.
        p: f64,
    },
}

/// A network as text: perhaps its input, and its layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Channels, height, width, if the text names them.
    pub input: Option<[usize; 3]>,
    /// The layers, first to last.
    pub layers: Vec<LayerText>,
}

impl FromStr for Description {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut description = Self {
            input: None,
            layers: Vec::new(),
        };
        let layers = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|layer| !layer.is_empty());
        for layer in layers {
            let is_input = layer.split_whitespace().next() == Some("input");
            let read = if is_input {
                read_input(layer, &description).map(|input| description.input = Some(input))
            } else {
                read_layer(layer).map(|layer| description.layers.push(layer))
            };
            read.map_err(|fault| TextError {
                number: if is_input {
                    0
                } else {
                    description.layers.len() + 1
                },
                text: layer.to_owned(),
                fault,
            })?;
        }
        Ok(description)
    }
}

fn read_input(text: &str, before: &Description) -> Result<[usize; 3], TextFault> {
    if before.input.is_some() || !before.layers.is_empty() {
        return Err(TextFault::InputPlace);
    }
    let shape = text.strip_prefix("input").unwrap_or(text).trim();
    let sizes: Option<Vec<usize>> = shape.split('x').map(|size| size.parse().ok()).collect();
    sizes
        .and_then(|sizes| sizes.try_into().ok())
        .ok_or_else(|| TextFault::Input(shape.to_owned()))
}

fn read_layer(text: &str) -> Result<LayerText, TextFault> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["relu"] => Ok(LayerText::Relu),
        ["relu", ..] => Err(TextFault::Usage("relu")),
        ["flatten"] => Ok(LayerText::Flatten),
        ["flatten", ..] => Err(TextFault::Usage("flatten")),
        ["linear", out_features] => Ok(LayerText::Linear {
            out_features: number(out_features)?,
        }),
        ["linear", ..] => Err(TextFault::Usage("linear O")),
        ["dropout", p] => Ok(LayerText::Dropout {
            p: p.parse().map_err(|_| TextFault::Share(p.to_owned()))?,
        }),
        ["dropout", ..] => Err(TextFault::Usage("dropout SHARE")),
        ["conv2d", out_channels, kernel, ref options @ ..] => {
            let kernel = pair(kernel)?;
            Ok(LayerText::Conv2d {
                out_channels: number(out_channels)?,
                window: read_window(kernel, [1, 1], options)?,
            })
        }
        ["conv2d", ..] => Err(TextFault::Usage("conv2d O K [stride=S] [padding=P]")),
        ["max_pool2d", kernel, ref options @ ..] => {
            let kernel = pair(kernel)?;
            Ok(LayerText::MaxPool2d {
                window: read_window(kernel, kernel, options)?,
            })
        }
        ["max_pool2d", ..] => Err(TextFault::Usage("max_pool2d K [stride=S] [padding=P]")),
        _ => Err(TextFault::Unknown(
            words.first().copied().unwrap_or_default().to_owned(),
        )),
    }
}

fn read_window(
    kernel: [usize; 2],
    default_stride: [usize; 2],
    options: &[&str],
) -> Result<Window, TextFault> {
    let (mut stride, mut padding) = (None, None);
    for option in options {
        let unknown = || TextFault::Option((*option).to_owned());
        let (name, value) = option.split_once('=').ok_or_else(unknown)?;
        let place = match name {
            "stride" => &mut stride,
            "padding" => &mut padding,
            _ => return Err(unknown()),
        };
        if place.replace(pair(value)?).is_some() {
            return Err(unknown());
        }
    }
    Ok(Window {
        kernel,
        stride: stride.unwrap_or(default_stride),
        padding: padding.unwrap_or([0, 0]),
    })
}

fn number(text: &str) -> Result<usize, TextFault> {
    text.parse().map_err(|_| TextFault::Number(text.to_owned()))
}

/// `5` or `5x3`, as height and width.
fn pair(text: &str) -> Result<[usize; 2], TextFault> {
    let wrong = |_| TextFault::Number(text.to_owned());
    match text.split_once('x') {
        None => Ok([text.parse().map_err(wrong)?; 2]),
        Some((height, width)) => Ok([
            height.parse().map_err(wrong)?,
            width.parse().map_err(wrong)?,
        ]),
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = self
            .input
            .map(|[channels, height, width]| format!("input {channels}x{height}x{width}"));
        let layers = self.layers.iter().map(LayerText::to_string);
        let parts: Vec<String> = input.into_iter().chain(layers).collect();
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for LayerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (window, default_stride) = match self {
            LayerText::Relu => return f.write_str("relu"),
            LayerText::Flatten => return f.write_str("flatten"),
            LayerText::Linear { out_features } => return write!(f, "linear {out_features}"),
            LayerText::Dropout { p } => return write!(f, "dropout {p}"),
            LayerText::Conv2d {
                out_channels,
                window,
            } => {
                write!(f, "conv2d {out_channels} ")?;
                (window, [1, 1])
            }
            LayerText::MaxPool2d { window } => {
                f.write_str("max_pool2d ")?;
                (window, window.kernel)
            }
        };
        write_pair(f, window.kernel)?;
        if window.stride != default_stride {
            f.write_str(" stride=")?;
            write_pair(f, window.stride)?;
        }
        if window.padding != [0, 0] {
            f.write_str(" padding=")?;
            write_pair(f, window.padding)?;
        }
        Ok(())
    }
}

fn write_pair(f: &mut fmt::Formatter<'_>, [height, width]: [usize; 2]) -> fmt::Result {
    if height == width {
        write!(f, "{height}")
    } else {
        write!(f, "{height}x{width}")
    }
}
