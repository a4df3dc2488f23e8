//! What the engine makes of a network: which layers become one stage, and which way each
//! convolution is computed. Decided once, by shapes alone.

use std::fmt;
use std::ops::Range;

use crate::layers::conv2d::one_image::Bands;
use crate::layers::conv2d::winograd::Winograd;
use crate::layers::conv2d_relu_max_pool2d;
use crate::layers::linear_linear::LinearLinear;
use crate::layers::max_pool2d::MaxPool2d;
use crate::network::{Network, Operation};

/// Which ways a convolution may be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Convolutions {
    /// By Winograd's filtering where the window allows it and it is faster.
    #[default]
    Fastest,
    /// All directly: sums of whole numbers are then exact.
    Direct,
}

/// The way of one convolution.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// [`crate::layers::conv2d::lanes`]
    Direct,
    /// [`crate::layers::conv2d::winograd`]
    Winograd(Winograd),
}

/// One layer, or two or three that are computed together, from one buffer into the next.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// The index of its first layer.
    pub layer: usize,
    /// What it computes.
    pub kind: Kind,
}

/// What a stage computes. Flatten is none: it moves nothing.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A convolution alone.
    Conv2d(Way),
    /// A convolution, ReLU and this pooling.
    Conv2dReluMaxPool2d(Way, MaxPool2d),
    /// Two fully connected layers as the one that they are.
    LinearLinear(LinearLinear),
    /// Any other layer alone.
    Alone,
}

impl Stage {
    /// How many layers it is.
    pub fn layers(&self) -> usize {
        match self.kind {
            Kind::Conv2dReluMaxPool2d(..) => 3,
            Kind::LinearLinear(_) => 2,
            Kind::Conv2d(_) | Kind::Alone => 1,
        }
    }

    /// Where its parameters lie in the flat vector.
    pub fn parameters(&self, network: &Network) -> Range<usize> {
        let layers = &network.layers()[self.layer..][..self.layers()];
        let parameters = layers.iter().filter(|layer| layer.has_parameters());
        let mut places = parameters.map(|layer| layer.weight.start..layer.bias.end);
        let first = places.next().unwrap_or_default();
        first.start..places.next_back().map_or(first.end, |last| last.end)
    }

    /// Where in a flat vector a slice adds up gradients: the place of the parameters, or of two merged
    /// layers' as much as `d_W` and `d_b` of the one take.
    pub fn added(&self, network: &Network) -> Range<usize> {
        let parameters = self.parameters(network);
        match &self.kind {
            Kind::LinearLinear(pair) => parameters.start..parameters.start + pair.merged_len(),
            _ => parameters,
        }
    }

    /// How its convolution is cut where one image comes alone, if it has one.
    pub fn bands(&self, network: &Network) -> Option<Bands> {
        let (way, pool) = match &self.kind {
            Kind::Conv2d(way) => (way, None),
            Kind::Conv2dReluMaxPool2d(way, pool) => (way, Some(pool)),
            Kind::LinearLinear(_) | Kind::Alone => return None,
        };
        let Operation::Conv2d(conv) = &network.layers()[self.layer].operation else {
            return None;
        };
        Some(Bands::new(conv, pool, matches!(way, Way::Winograd(_))))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |way: &Way| match way {
            Way::Direct => "direct",
            Way::Winograd(winograd) if winograd.along_rows() => "Winograd along the rows",
            Way::Winograd(_) => "Winograd",
        };
        match &self.kind {
            Kind::Conv2d(chosen) => f.write_str(way(chosen)),
            Kind::Conv2dReluMaxPool2d(chosen, _) => {
                write!(f, "{}, fused with relu and max_pool2d", way(chosen))
            }
            Kind::LinearLinear(_) => f.write_str("in the lanes, merged into one layer"),
            Kind::Alone => f.write_str("in the lanes"),
        }
    }
}

/// The stages of `network` for vectors of `width` lanes.
pub fn plan(network: &Network, width: usize, convolutions: Convolutions) -> Vec<Stage> {
    let layers = network.layers();
    let mut stages = Vec::new();
    let mut layer = 0;
    while layer < layers.len() {
        let next = |k: usize| layers.get(layer + k).map(|layer| &layer.operation);
        let kind = match &layers[layer].operation {
            Operation::Flatten => None,
            Operation::Conv2d(conv) => {
                let way = match convolutions {
                    Convolutions::Fastest => {
                        Winograd::new(conv, width).map_or(Way::Direct, Way::Winograd)
                    }
                    Convolutions::Direct => Way::Direct,
                };
                Some(match (next(1), next(2)) {
                    (Some(Operation::Relu), Some(Operation::MaxPool2d(pool)))
                        if conv2d_relu_max_pool2d::fits(pool) =>
                    {
                        Kind::Conv2dReluMaxPool2d(way, *pool)
                    }
                    _ => Kind::Conv2d(way),
                })
            }
            Operation::Linear(first) => {
                let pair = match next(1) {
                    Some(Operation::Linear(second)) => LinearLinear::new(first, second),
                    _ => None,
                };
                Some(pair.map_or(Kind::Alone, Kind::LinearLinear))
            }
            Operation::Relu | Operation::MaxPool2d(_) | Operation::Dropout(_) => Some(Kind::Alone),
        };
        let Some(kind) = kind else {
            layer += 1;
            continue;
        };
        let stage = Stage { layer, kind };
        layer += stage.layers();
        stages.push(stage);
    }
    stages
}
