//! A small network's step in three kernels, `kernels/convnet.cu`: which networks they are for, how they
//! are spread over blocks, and their launches. Decided by shapes alone, as in `plan`.

use super::plan::{Fused, Kind, Rung, Stage};
use super::{Cuda, EXAMPLE_THREADS, Epoch, F, sizes};
use crate::engines::EngineError;
use crate::hardware::gpu::Argument::{self, F32, I32, Memory, U64};
use crate::hardware::gpu::{Convnet as Sizes, Convolution, Gpu, Grid, Update};
use crate::layers::window::Window;
use crate::network::{Layer, Network};
use crate::optimisers::StepRule;

/// Blocks that a batch is spread over, as many as a large GPU has processors; so long as a processor has one
/// block, no block waits for another.
const BLOCKS: usize = 128;

/// The most numbers that a block shares: 64 KiB, which every GPU since 7.5 gives to a kernel that
/// asks for it, less what the kernel itself declares.
const MOST_SHARED: usize = (64 * 1024 - 64) / F;

/// Channels that a thread computes at once, as in the kernels.
const GROUP: usize = 2;

/// Numbers that all threads' sums may take, as in the kernels.
const SUMS: usize = 6144;

/// Lanes of a warp, and warps of a block.
const LANES: usize = 32;
const WARPS: usize = EXAMPLE_THREADS as usize / LANES;

/// Threads of a block of the update: 8 warps share the sums of 32 parameters out.
const UPDATE_THREADS: u32 = 256;

/// A network that the kernels are for.
pub(super) struct Convnet {
    sizes: Sizes,
    /// The convolutions' and the classifier's first layers.
    layers: Vec<usize>,
}

impl Convnet {
    /// `stages` of `network`, if they are one or two convolutions with pooling by 2 and a classifier that
    /// begins with a linear layer, and blocks can hold what they need.
    pub(super) fn new(network: &Network, stages: &[Stage], rung: Rung) -> Option<Self> {
        let (end, convolutions) = stages.split_last()?;
        let Kind::Classifier(classifier) = &end.kind else {
            return None;
        };
        if rung != Rung::Whole
            || ![1, 2].contains(&convolutions.len())
            || classifier.of[0].kind != 0
        {
            return None;
        }
        let mut sizes = Sizes {
            convolutions: sizes::int(convolutions.len()).ok()?,
            classifier: **classifier,
            ..Sizes::default()
        };
        for (of, stage) in sizes.of.iter_mut().zip(convolutions) {
            let Kind::Fused(fused) = &stage.kind else {
                return None;
            };
            *of = convolution(fused, &network.layers()[stage.layer])?;
        }
        let layers = stages.iter().map(|stage| stage.layer).collect();
        let convnet = Self { sizes, layers };
        let fits = |n| {
            convnet
                .shared(n)
                .iter()
                .all(|&shared| shared <= MOST_SHARED)
        };
        (convnet.sums_fit() && (1..=BLOCKS).all(fits)).then_some(convnet)
    }

    fn two(&self) -> bool {
        self.sizes.convolutions == 2
    }

    fn first(&self) -> Counts {
        Counts::of(&self.sizes.of[0])
    }

    fn last(&self) -> Counts {
        Counts::of(&self.sizes.of[usize::from(self.two())])
    }

    /// Whether one slice of all channels of y has room for its sums.
    fn sums_fit(&self) -> bool {
        let fits = |of: Counts| 4 * grouped(of.outputs) * of.windows <= SUMS;
        fits(self.first()) && fits(self.last())
    }

    /// Blocks of an example, of `n`.
    fn parts(&self, n: usize) -> usize {
        let channels = self.first().outputs.min(self.last().outputs);
        (BLOCKS / n.max(1)).clamp(1, channels)
    }

    /// Slices of `n` examples, backward.
    fn slices(n: usize) -> usize {
        n.min(BLOCKS)
    }

    /// Numbers in which the slices of `n` examples are added up: (slices, parameters of the convolutions).
    pub(super) fn partial(&self, n: usize) -> usize {
        Self::slices(n) * self.sizes.classifier.of[0].weight.unsigned_abs() as usize
    }

    /// Numbers that the threads of a block share, forward and backward, of `n` examples: in the order of
    /// the kernels.
    fn shared(&self, n: usize) -> [usize; 2] {
        let (parts, first, last) = (self.parts(n), self.first(), self.last());
        let most = last.outputs.div_ceil(parts);
        let mut forward =
            256 * first.inputs + last.weights(most) + SUMS + first.inputs * first.area;
        let most = first.outputs.div_ceil(parts);
        let segments = (WARPS / (most * first.inputs)).max(1);
        let mut backward = 2 * self.sizes.classifier.width.unsigned_abs() as usize
            + last.outputs * last.windows
            + first.inputs * first.area
            + most * first.inputs * segments * LANES;
        if self.two() {
            let members = (WARPS / most).max(1);
            forward += first.weights(first.outputs) + last.inputs * last.area;
            backward += most * (2 * first.windows + (1 + members) * last.area);
        }
        [forward, backward]
    }
}

/// Its sizes, if the kernels know its kernel and its pooling.
fn convolution(fused: &Fused, layer: &Layer) -> Option<Convolution> {
    let [height, width] = fused.conv.window.kernel;
    let by_two = Window {
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0, 0],
    };
    if height != width || ![3, 5].contains(&height) || fused.pool.window != by_two {
        return None;
    }
    let [_, ph, pw] = fused.pool.y();
    let int = |size| sizes::int(size).ok();
    Some(Convolution {
        s: sizes::of_conv2d(&fused.conv, 1).ok()?,
        ph: int(ph)?,
        pw: int(pw)?,
        weight: int(layer.weight.start)?,
        bias: int(layer.bias.start)?,
    })
}

/// What there is of a convolution, in numbers.
#[derive(Clone, Copy)]
struct Counts {
    inputs: usize,
    outputs: usize,
    /// A filter of a channel, as the kernels lay it out.
    pitch: usize,
    /// A padded plane of x.
    area: usize,
    /// Pixels of a pooled plane.
    windows: usize,
}

impl Counts {
    fn of(of: &Convolution) -> Self {
        let size = |size: i32| size.unsigned_abs() as usize;
        let (kernel, ph, pw) = (size(of.s.kh), size(of.ph), size(of.pw));
        Self {
            inputs: size(of.s.c),
            outputs: size(of.s.o),
            pitch: (kernel * kernel).next_multiple_of(4),
            area: (2 * ph + kernel - 1) * (2 * pw + kernel - 1),
            windows: ph * pw,
        }
    }

    /// Numbers of so many filters.
    fn weights(&self, channels: usize) -> usize {
        grouped(channels) * self.inputs * self.pitch
    }
}

fn grouped(channels: usize) -> usize {
    channels.next_multiple_of(GROUP)
}

impl<G: Gpu> Cuda<G> {
    /// Loss, hits and all gradients of the next `n` images of the epoch, and then the update, if there is
    /// to be one.
    pub(super) fn convnet_step(
        &self,
        convnet: &Convnet,
        epoch: &Epoch<G::Memory>,
        n: usize,
        rule: &StepRule,
        update: Option<Update>,
    ) -> Result<(), EngineError> {
        let [forward, backward] = convnet.shared(n);
        let (parts, slices) = (convnet.parts(n), Convnet::slices(n));
        let buffers = &self.buffers;
        let [first, last, end] = match convnet.layers[..] {
            [first, end] => [first, first, end],
            [first, last, end] => [first, last, end],
            _ => unreachable!("there are one or two convolutions"),
        };
        let outputs = |layer: usize| Memory(buffers.activation(layer + 3), 0);
        let winners = |layer: usize| Memory(&buffers.winners(layer).pixels, 0);
        let values = buffers.values();
        let net = || Argument::Convnet(&convnet.sizes);
        let int = |size| sizes::int(size).map(I32);
        let grid = |blocks: usize, shared: usize| -> Result<Grid, EngineError> {
            Ok(Grid {
                blocks: sizes::int(blocks)?.unsigned_abs(),
                threads: EXAMPLE_THREADS,
                shared: sizes::int(F * shared)?.unsigned_abs(),
            })
        };
        // Places in buffers are counted in 32 bits.
        for layer in self.network.layers() {
            sizes::int(n * layer.input.elements().max(layer.output.elements()))?;
        }
        sizes::int(n * convnet.sizes.classifier.width.unsigned_abs() as usize)?;

        let arguments = [
            Memory(epoch.images, 0),
            Memory(&epoch.order, 0),
            Memory(&self.bytes_table, 0),
            Memory(&self.parameters, 0),
            Memory(buffers.activation(0), 0),
            outputs(first),
            winners(first),
            outputs(last),
            winners(last),
            Memory(&self.progress, 0),
            int(parts)?,
            net(),
        ];
        self.launch("convnet_forward", grid(n * parts, forward)?, &arguments)?;

        let arguments = [
            Memory(buffers.activation(0), 0),
            outputs(first),
            winners(first),
            Memory(buffers.activation(end), 0),
            winners(last),
            Memory(&epoch.labels, 0),
            Memory(&epoch.order, 0),
            Memory(&self.parameters, 0),
            Memory(&values.values, 0),
            Memory(&values.d_values, 0),
            Memory(&values.losses, 0),
            Memory(&values.rights, 0),
            Memory(buffers.partial(), 0),
            Memory(&self.progress, 0),
            U64(rule.seed),
            F32(rule.label_smoothing as f32),
            int(n)?,
            int(parts)?,
            int(slices)?,
            net(),
        ];
        self.launch(
            "convnet_backward",
            grid(slices * parts, backward)?,
            &arguments,
        )?;

        let count = self.network.parameter_count();
        let arguments = [
            Memory(&self.parameters, 0),
            Memory(&self.gradients, 0),
            Memory(&self.first_moment, 0),
            Memory(&self.second_moment, 0),
            Memory(buffers.partial(), 0),
            Memory(&values.values, 0),
            Memory(&values.d_values, 0),
            Memory(&values.losses, 0),
            Memory(&values.rights, 0),
            Memory(&self.steps_table, 0),
            Memory(&self.progress, 0),
            int(n)?,
            int(slices)?,
            int(count)?,
            I32(update.is_some().into()),
            Argument::Update(update.unwrap_or_default()),
            Argument::Classifier(&convnet.sizes.classifier),
        ];
        let grid = Grid {
            blocks: sizes::int(count.div_ceil(LANES) + 1)?.unsigned_abs(),
            threads: UPDATE_THREADS,
            shared: 0,
        };
        self.launch("convnet_update", grid, &arguments)
    }
}
