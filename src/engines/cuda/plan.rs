//! What the engine makes of a network: which layers become one stage, and how a stage is spread over
//! blocks. Decided by shapes alone, so that the same seed gives the same bits on any GPU.

use super::THREADS;
use crate::layers::conv2d::Conv2d;
use crate::layers::max_pool2d::MaxPool2d;
use crate::network::{Network, Operation};

/// The most numbers that a block of a fused kernel shares: 48 KiB, which every GPU has, less what the
/// kernel itself declares.
const MOST_SHARED: usize = (48 * 1024 - 64) / super::F;

/// Blocks that a GPU should be given, or some of its processors have nothing to do.
const BLOCKS: usize = 512;

/// How far up their ladder convolutions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Convolutions {
    /// `kernels/conv2d.cu`, a thread a number.
    Direct,
    /// `kernels/conv2d_implicit_gemm.cu` forward, a tile of a product a block.
    ImplicitGemm,
    /// `kernels/conv2d_relu_max_pool2d.cu` where ReLU and max-pool follow; elsewhere the second rung,
    /// if there are channels enough for half a tile, or the first.
    #[default]
    Fused,
}

/// A kernel for the forward pass of a convolution alone, and how it is spread.
pub(super) struct Forward {
    pub(super) kernel: &'static str,
    /// Channels and pixels of all images that a block computes; none where a thread computes one.
    tile: Option<[usize; 2]>,
}

impl Convolutions {
    /// The kernel of a convolution that is not fused.
    pub(super) fn forward(self, conv: &Conv2d) -> Forward {
        let tile = [32, 64];
        let by_product = match self {
            Self::Direct => false,
            Self::ImplicitGemm => true,
            Self::Fused => 2 * conv.out_channels >= tile[0],
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

/// One layer, or three that are computed together. Flatten is none: it moves nothing.
pub(super) struct Stage {
    /// The index of its first layer.
    pub(super) layer: usize,
    /// Where it is convolution, ReLU and max-pool in one kernel.
    pub(super) fused: Option<Fused>,
}

impl Stage {
    /// The index behind its last layer.
    pub(super) fn end(&self) -> usize {
        self.layer + if self.fused.is_some() { 3 } else { 1 }
    }
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

/// The stages of `network`, in their order.
pub(super) fn stages(network: &Network, convolutions: Convolutions) -> Vec<Stage> {
    let layers = network.layers();
    let operation = |index: usize| layers.get(index).map(|layer| &layer.operation);
    let mut stages = Vec::new();
    let mut layer = 0;
    while let Some(first) = operation(layer) {
        let fused = match (first, operation(layer + 1), operation(layer + 2)) {
            (Operation::Conv2d(conv), Some(Operation::Relu), Some(Operation::MaxPool2d(pool)))
                if convolutions == Convolutions::Fused =>
            {
                Fused::new(conv, pool)
            }
            _ => None,
        };
        let stage = Stage { layer, fused };
        layer = stage.end();
        if !matches!(first, Operation::Flatten) {
            stages.push(stage);
        }
    }
    stages
}
