//! A small network's step in three kernels, `kernels/convnet.cu`: which networks they are for, how they
//! are spread over blocks, and their launches. Decided by shapes alone, as in `plan`.

use super::plan::{Fused, Kind, Rung, Stage};
use super::{Cuda, EXAMPLE_THREADS, Epoch, F, sizes};
use crate::engines::EngineError;
use crate::hardware::gpu::Argument::{self, F32, I32, Memory, U64};
use crate::hardware::gpu::{Convnet as Sizes, Convolution, Divisor, Gpu, GpuError, Grid, Update};
use crate::layers::window::Window;
use crate::network::{Layer, Network};
use crate::optimisers::StepRule;

/// Blocks that a batch is spread over, about as many as a large GPU has processors: so long as each has one
/// block, none waits for another.
const BLOCKS: usize = 128;

/// The most numbers that a block shares: 64 KiB, which every GPU since 7.5 gives to a kernel that asks
/// for it; these kernels declare none of their own.
const MOST_SHARED: usize = 64 * 1024 / F;

/// Channels that a thread computes at once, as in the kernels.
const GROUP: usize = 2;

/// Numbers that all threads' sums may take.
const MOST_SUMS: usize = 6144;

/// The most parameters behind the first linear layer's weight of which each block keeps its own.
const MOST_OTHERS: usize = 2048;

/// Lanes of a warp, and warps of a block.
const LANES: usize = 32;
const WARPS: usize = EXAMPLE_THREADS as usize / LANES;

/// Threads of a block of the update: four warps share the sums of 32 parameters out.
const UPDATE_THREADS: u32 = 128;

/// A network that the kernels are for.
pub(super) struct Convnet {
    /// As the kernels have them, but for what depends on the batch.
    sizes: Sizes,
    /// The convolutions' and the classifier's first layers.
    layers: Vec<usize>,
}

/// How it is spread for a batch.
struct Spread {
    sizes: Sizes,
    /// Numbers that the threads of a block share, forward and back.
    shared: [usize; 2],
}

impl Convnet {
    /// `stages` of `network`, if they are one or two convolutions with pooling by 2 and a classifier that
    /// begins with a linear layer, and blocks can hold what they need.
    pub(super) fn new(network: &Network, stages: &[Stage], rung: Rung) -> Option<Self> {
        let (end, convolutions) = stages.split_last()?;
        let Kind::Classifier(classifier) = &end.kind else {
            return None;
        };
        let linear = classifier.of[0].kind == 0;
        if rung != Rung::Whole || !linear || ![1, 2].contains(&convolutions.len()) {
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
        let dense = &classifier.of[0];
        let others = network.parameter_count() - size(dense.bias);
        if others <= MOST_OTHERS {
            sizes.others = sizes::int(others).ok()?;
        }
        let layers = stages.iter().map(|stage| stage.layer).collect();
        let convnet = Self { sizes, layers };
        let fits = |n| {
            let spread = convnet.spread(n)?;
            let [forward, backward] = spread.shared;
            (forward.max(backward) <= MOST_SHARED).then_some(())
        };
        // Whatever the batch, so that which kernels a network has is the network's alone.
        (1..=BLOCKS).try_for_each(fits)?;
        Some(convnet)
    }

    /// Slices of `n` examples, back.
    fn slices(n: usize) -> usize {
        n.min(BLOCKS)
    }

    /// Numbers in which the slices of `n` examples are added up: (slices, parameters of the convolutions).
    pub(super) fn partial(&self, n: usize) -> usize {
        Self::slices(n) * size(self.sizes.classifier.of[0].weight)
    }

    /// Numbers that the parts of up to `n` examples give to the first linear layer: (N, parts, its outputs).
    pub(super) fn hidden(&self, n: usize) -> usize {
        n.max(BLOCKS) * size(self.sizes.classifier.of[0].outputs)
    }

    /// For `n` examples; or None where a block has no room for a sum of every number of a convolution.
    fn spread(&self, n: usize) -> Option<Spread> {
        let mut sizes = self.sizes;
        let two = sizes.convolutions == 2;
        let [first, last] = [0, usize::from(two)];
        let outputs = sizes.of.map(|of| size(of.s.o));
        let parts = (BLOCKS / n.max(1)).clamp(1, outputs[first].min(outputs[last]));

        // Forward a block computes the whole first convolution of two, and a share of the last.
        let mut sums = 0;
        let mut forward = 256 * size(sizes.of[first].s.c);
        for (index, of) in sizes.of[..=last].iter_mut().enumerate() {
            let most = match index == last {
                true => outputs[index].div_ceil(parts),
                false => outputs[index],
            };
            let (inputs, groups) = (size(of.s.c), most.div_ceil(GROUP));
            let each = 4 * GROUP * groups * of.windows.by();
            let threads = EXAMPLE_THREADS as usize / (groups * of.windows.by());
            let slices = threads.clamp(1, inputs).min(MOST_SUMS / each);
            if slices == 0 {
                return None;
            }
            of.groups = Divisor::new(groups)?;
            of.slices = sizes::int(slices).ok()?;
            sums = sums.max(slices * each);
            if index == last {
                forward += most * of.windows.by();
            }
            forward += GROUP * groups * inputs * of.pitch.by() + inputs * of.area.by();
        }

        // Back it has a share of the first convolution's channels.
        let (of_first, of_last) = (&sizes.of[first], &sizes.of[last]);
        let most = outputs[first].div_ceil(parts);
        let members = (WARPS / most).clamp(1, outputs[last]);
        let pairs = most * size(of_first.s.c);
        let segments = (WARPS / pairs).max(1);
        let features = size(sizes.classifier.of[0].inputs);
        let sharers = (EXAMPLE_THREADS as usize / features).max(1);
        let mut backward = 2 * size(sizes.classifier.width)
            + size(sizes.others)
            + parts * size(sizes.classifier.of[0].outputs)
            + features * sharers
            + outputs[last] * of_last.windows.by()
            + size(of_first.s.c) * of_first.area.by()
            + pairs * segments * LANES;
        // Lists of the first winners, of two numbers each, and before them planes of each warp that adds to
        // the first y's gradient.
        let lists = 2 * pairs * of_first.windows.by();
        if two {
            backward += lists.max(most * members * of_last.area.by());
            backward += most * (2 * of_first.windows.by() + of_last.area.by());
            // How many of the last winners count, and their lists.
            backward += outputs[last] * (1 + 2 * of_last.windows.by());
        } else {
            backward += lists;
        }

        sizes.parts = Divisor::new(parts)?;
        sizes.slices = sizes::int(Self::slices(n)).ok()?;
        sizes.most = sizes::int(most).ok()?;
        sizes.members = Divisor::new(members)?;
        sizes.segments = Divisor::new(segments)?;
        sizes.features = Divisor::new(features)?;
        sizes.sharers = sizes::int(sharers).ok()?;
        Some(Spread {
            sizes,
            shared: [forward + sums, backward],
        })
    }
}

/// Its sizes, if the kernels know its kernel and its pooling.
fn convolution(fused: &Fused, layer: &Layer) -> Option<Convolution> {
    let [kernel, kernel_width] = fused.conv.window.kernel;
    let by_two = Window {
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0, 0],
    };
    if kernel != kernel_width || ![3, 5].contains(&kernel) || fused.pool.window != by_two {
        return None;
    }
    let [inputs, height, width] = fused.conv.x();
    let [_, ph, pw] = fused.pool.y();
    // What the pooled windows reach.
    let [rows, columns] = [ph, pw].map(|windows| 2 * windows + kernel - 1);
    let int = |size| sizes::int(size).ok();
    Some(Convolution {
        s: sizes::of_conv2d(&fused.conv, 1).ok()?,
        weight: int(layer.weight.start)?,
        bias: int(layer.bias.start)?,
        inputs: Divisor::new(inputs)?,
        pixels: int(height * width)?,
        ow: Divisor::new(fused.conv.output[1])?,
        windows: Divisor::new(ph * pw)?,
        pw: Divisor::new(pw)?,
        area: Divisor::new(rows * columns)?,
        width: Divisor::new(columns)?,
        pitch: Divisor::new((kernel * kernel).next_multiple_of(4))?,
        // The others are the batch's.
        ..Convolution::default()
    })
}

/// A size that the kernels are told.
fn size(of: i32) -> usize {
    of.unsigned_abs() as usize
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
        let spread = convnet.spread(n).ok_or_else(|| {
            GpuError::new(
                "convnet_forward",
                format!("{n} examples were not planned for"),
            )
        })?;
        let [forward, backward] = spread.shared;
        let (parts, slices) = (spread.sizes.parts.by(), size(spread.sizes.slices));
        let buffers = &self.buffers;
        let [first, last, end] = match convnet.layers[..] {
            [first, end] => [first, first, end],
            [first, last, end] => [first, last, end],
            _ => unreachable!("there are one or two convolutions"),
        };
        let outputs = |layer: usize| Memory(buffers.activation(layer + 3), 0);
        let winners = |layer: usize| Memory(&buffers.winners(layer).pixels, 0);
        let (between, values) = (buffers.between(), buffers.values());
        let net = || Argument::Convnet(&spread.sizes);
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
        sizes::int(n * size(convnet.sizes.classifier.width))?;

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
            Memory(&between.hidden, 0),
            Memory(&self.progress, 0),
            net(),
        ];
        self.launch("convnet_forward", grid(n * parts, forward)?, &arguments)?;

        let arguments = [
            Memory(buffers.activation(0), 0),
            outputs(first),
            winners(first),
            Memory(buffers.activation(end), 0),
            winners(last),
            Memory(&between.hidden, 0),
            Memory(&epoch.labels, 0),
            Memory(&epoch.order, 0),
            Memory(&self.parameters, 0),
            Memory(&values.values, 0),
            Memory(&values.d_values, 0),
            Memory(&values.losses, 0),
            Memory(&values.rights, 0),
            Memory(&between.partial, 0),
            Memory(&self.progress, 0),
            U64(rule.seed),
            F32(rule.label_smoothing as f32),
            int(n)?,
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
            Memory(&between.partial, 0),
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
