//! What the engine makes of a network: which layers become one stage, and how a stage is spread over
//! blocks. Decided by shapes alone, so that the same seed gives the same bits on any GPU.

use super::THREADS;
use crate::hardware::gpu::{Classifier, Dense};
use crate::layers::conv2d::Conv2d;
use crate::layers::max_pool2d::MaxPool2d;
use crate::network::{Network, Operation};

/// The most numbers that a block of a fused kernel shares: 48 KiB, which every GPU has, less what the
/// kernel itself declares.
const MOST_SHARED: usize = (48 * 1024 - 64) / super::F;

/// Numbers of four bytes that the sums of a block take: for each of 1024 threads one in f64, and one
/// whole number.
const SUMS: usize = 3 * 1024;

/// Blocks that a GPU should be given, or some of its processors have nothing to do.
const BLOCKS: usize = 512;

/// How far up the ladder the kernels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Rung {
    /// A kernel a layer, a convolution by `kernels/conv2d.cu`: a thread a number.
    Direct,
    /// The same, a convolution forward by `kernels/conv2d_implicit_gemm.cu`: a tile of a product a
    /// block.
    ImplicitGemm,
    /// Layers that follow each other in one kernel: `kernels/conv2d_relu_max_pool2d.cu`, and
    /// `kernels/classifier.cu` for small linear layers at the end. A convolution alone takes the second
    /// rung if it has channels enough for half a tile, else the first.
    Fused,
    /// The same, and training steps of a small network in three kernels: `kernels/convnet.cu`.
    #[default]
    Whole,
}

/// A kernel for the forward pass of a convolution alone, and how it is spread.
pub(super) struct Forward {
    pub(super) kernel: &'static str,
    /// Channels and pixels of all images that a block computes; none where a thread computes one.
    tile: Option<[usize; 2]>,
}

impl Rung {
    /// The kernel of a convolution that is not fused.
    pub(super) fn forward(self, conv: &Conv2d) -> Forward {
        let tile = [32, 64];
        let by_product = match self {
            Self::Direct => false,
            Self::ImplicitGemm => true,
            Self::Fused | Self::Whole => 2 * conv.out_channels >= tile[0],
        };
        match by_product {
            true => Forward {
                kernel: "conv2d_forward_implicit_gemm",
                tile: Some(tile),
            },
            false => Forward {
                kernel: "conv2d_forward",
                tile: None,
            },
        }
    }
}

impl Forward {
    /// How many blocks `n` images need.
    pub(super) fn blocks(&self, conv: &Conv2d, n: usize) -> usize {
        let (channels, pixels) = (conv.out_channels, n * conv.windows());
        match self.tile {
            Some([down, across]) => channels.div_ceil(down) * pixels.div_ceil(across),
            None => (channels * pixels).div_ceil(THREADS as usize),
        }
    }
}

/// One layer, or several that are computed together. Flatten is none: it moves nothing.
pub(super) struct Stage {
    /// The index of its first layer.
    pub(super) layer: usize,
    /// The index behind its last.
    pub(super) end: usize,
    pub(super) kind: Kind,
}

/// What a stage is.
pub(super) enum Kind {
    /// A layer alone.
    Alone,
    /// Convolution, ReLU and max-pool.
    Fused(Box<Fused>),
    /// The network's end, with the loss.
    Classifier(Box<Classifier>),
}

/// A convolution of stride 1 with the pooling behind it.
pub(super) struct Fused {
    pub(super) conv: Conv2d,
    pub(super) pool: MaxPool2d,
    /// Channels of y that a block computes forward.
    pub(super) group: usize,
    /// Channels that a block has at once, forward of x, backward of d_y.
    pub(super) chunks: [usize; 2],
}

impl Fused {
    /// Both in one kernel, if it can: with stride 1, a tap a thread, and at least a channel at once.
    fn new(conv: &Conv2d, pool: &MaxPool2d) -> Option<Self> {
        let [kernel_height, kernel_width] = conv.window.kernel;
        let taps = kernel_height * kernel_width;
        if conv.window.stride != [1, 1] || taps >= THREADS as usize {
            return None;
        }
        let mut fused = Self {
            conv: *conv,
            pool: *pool,
            // Enough channels that a thread has a pixel, or a share of a tile.
            group: (THREADS as usize / conv.windows()).clamp(1, conv.out_channels),
            chunks: [0, 0],
        };
        // What is left of a block's memory holds as many channels as it can.
        let [forward, backward] = fused.shared().map(|used| MOST_SHARED.checked_sub(used));
        let [of_x, of_d_y] = fused.channel();
        fused.chunks = [
            (forward? / of_x).min(conv.in_channels),
            (backward? / of_d_y).min(conv.out_channels),
        ];
        fused.chunks.iter().all(|&chunk| chunk > 0).then_some(fused)
    }

    /// Tiles of 2 x 2 of the outputs, and a plane with whole tiles for them: `plane_of` in the kernel.
    fn tiles_and_area(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        let [kh, kw] = self.conv.window.kernel;
        let [rows, columns] = [height.div_ceil(2), width.div_ceil(2)];
        let area = (2 * rows + kh - 1) * (2 * columns + kw - 1);
        [rows * columns, area]
    }

    /// Numbers that a channel of a chunk takes, forward and backward: a plane, and weights.
    fn channel(&self) -> [usize; 2] {
        let taps: usize = self.conv.window.kernel.iter().product();
        let [_, forward] = self.tiles_and_area(self.conv.output);
        let [_, backward] = self.tiles_and_area(self.conv.input);
        [forward + self.group * taps, backward + taps]
    }

    /// Numbers that the threads of a block share, forward and backward: the chunk's; parts of sums, a
    /// tile a thread or more; and forward the group's sums.
    pub(super) fn shared(&self) -> [usize; 2] {
        let [forward, backward] = self.channel();
        let parts = |tiles: usize| 4 * tiles.max(THREADS as usize);
        let [of_y, _] = self.tiles_and_area(self.conv.output);
        let [of_x, _] = self.tiles_and_area(self.conv.input);
        [
            self.chunks[0] * forward + self.group * self.conv.windows() + parts(self.group * of_y),
            self.chunks[1] * backward + parts(of_x),
        ]
    }

    /// Pairs of channels, O C: each has a block for a slice of the images, backward.
    pub(super) fn pairs(&self) -> usize {
        self.conv.out_channels * self.conv.in_channels
    }

    /// Slices of `n` images, backward.
    pub(super) fn slices(&self, n: usize) -> usize {
        BLOCKS.div_ceil(self.pairs()).clamp(1, n.max(1))
    }

    /// Numbers in which the slices of `n` images are added up: (O C, slices, taps + 1).
    pub(super) fn partial(&self, n: usize) -> usize {
        let [kh, kw] = self.conv.window.kernel;
        self.pairs() * self.slices(n) * (kh * kw + 1)
    }
}

/// The most weights of a classifier's, each of which is read for every example.
const MOST_WEIGHTS: usize = 1 << 16;

/// The layers from the one at `start` on as a classifier, if they are linear, ReLU, dropout or flatten
/// to the end, end in a linear one, and are small.
fn classifier(network: &Network, start: usize) -> Option<Classifier> {
    let int = |size: usize| i32::try_from(size).ok();
    let mut classifier = Classifier::default();
    let (mut width, mut weights, mut count) = (0, 0, 0);
    for (index, layer) in network.layers().iter().enumerate().skip(start) {
        let (kind, scale, threshold) = match &layer.operation {
            Operation::Linear(_) => (0, 0.0, 0),
            Operation::Relu => (1, 0.0, 0),
            Operation::Dropout(dropout) => (2, dropout.scale() as f32, dropout.threshold()),
            Operation::Flatten => continue,
            Operation::Conv2d(_) | Operation::MaxPool2d(_) => return None,
        };
        let inputs = layer.input.elements();
        *classifier.of.get_mut(count)? = Dense {
            kind,
            inputs: int(inputs)?,
            outputs: int(layer.output.elements())?,
            weight: int(layer.weight.start)?,
            bias: int(layer.bias.start)?,
            x: int(width)?,
            y: int(width + inputs)?,
            scale,
            threshold,
            number: index as u32,
        };
        count += 1;
        width += inputs;
        weights += layer.weight.len();
    }
    let last = network.layers().last()?;
    width += last.output.elements();
    classifier.layers = int(count)?;
    classifier.width = int(width)?;
    let fits = weights <= MOST_WEIGHTS && 2 * width <= MOST_SHARED - SUMS;
    (fits && matches!(last.operation, Operation::Linear(_))).then_some(classifier)
}

/// The stages of `network`, in their order.
pub(super) fn stages(network: &Network, rung: Rung) -> Vec<Stage> {
    let layers = network.layers();
    let fuses = matches!(rung, Rung::Fused | Rung::Whole);
    let operation = |index: usize| layers.get(index).map(|layer| &layer.operation);
    let mut stages = Vec::new();
    let mut layer = 0;
    while let Some(first) = operation(layer) {
        let fused = match (first, operation(layer + 1), operation(layer + 2)) {
            (Operation::Conv2d(conv), Some(Operation::Relu), Some(Operation::MaxPool2d(pool)))
                if fuses =>
            {
                Fused::new(conv, pool)
            }
            _ => None,
        };
        let end_of_network = if fuses {
            classifier(network, layer)
        } else {
            None
        };
        let (end, kind) = match (end_of_network, fused) {
            (Some(classifier), _) => (layers.len(), Kind::Classifier(Box::new(classifier))),
            (None, Some(fused)) => (layer + 3, Kind::Fused(Box::new(fused))),
            (None, None) => (layer + 1, Kind::Alone),
        };
        let moves = !matches!((first, &kind), (Operation::Flatten, Kind::Alone));
        if moves {
            stages.push(Stage { layer, end, kind });
        }
        layer = end;
    }
    stages
}
