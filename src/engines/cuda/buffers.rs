//! What lies on the GPU between the layers.

use super::F;
use super::convnet::Convnet;
use super::plan::{Fused, Kind, Stage};
use crate::engines::EngineError;
use crate::hardware::gpu::Gpu;
use crate::network::Network;

/// What N images need between the stages.
pub(super) struct Buffers<M> {
    /// N.
    pub(super) images: usize,
    /// Before the layer of each place, and behind the last: (N, …), where a stage begins or ends.
    activations: Vec<Option<M>>,
    /// The gradients by the activations, likewise.
    d_activations: Vec<Option<M>>,
    /// Of the fused stages, by the place of their first layer.
    winners: Vec<Option<Winners<M>>>,
    /// Of a classifier.
    values: Option<Values<M>>,
    /// For steps in three kernels.
    between: Option<Between<M>>,
    /// (N)
    pub(super) labels: M,
}

/// What a fused stage keeps.
pub(super) struct Winners<M> {
    /// Pixels that have won their windows: (N, O, p.oh, p.ow), whole numbers.
    pub(super) pixels: M,
    /// Parts of the weight's gradient: [`Fused::partial`].
    pub(super) partial: M,
    /// How many of a pair's slices are done: (O C), whole numbers, 0 between launches.
    pub(super) tickets: M,
}

/// What a classifier keeps.
pub(super) struct Values<M> {
    /// Before and behind its layers, and the gradients by them: (N, width).
    pub(super) values: M,
    pub(super) d_values: M,
    /// (N)
    pub(super) losses: M,
    /// (N), whole numbers
    pub(super) rights: M,
    /// How many examples are done, 0 between launches.
    pub(super) ticket: M,
}

impl<M> Buffers<M> {
    pub(super) fn new<G: Gpu<Memory = M>>(
        gpu: &G,
        network: &Network,
        stages: &[Stage],
        convnet: Option<&Convnet>,
        images: usize,
    ) -> Result<Self, EngineError> {
        let layers = network.layers();
        let mut elements = vec![None; layers.len() + 1];
        elements[0] = Some(network.input().iter().product());
        let mut winners: Vec<_> = layers.iter().map(|_| None).collect();
        let mut values = None;
        for stage in stages {
            match &stage.kind {
                Kind::Alone => {}
                Kind::Fused(fused) => {
                    winners[stage.layer] = Some(Winners::new(gpu, fused, images)?);
                }
                Kind::Classifier(classifier) => {
                    let width = classifier.width.unsigned_abs() as usize;
                    values = Some(Values::new(gpu, width, images)?);
                }
            }
            elements[stage.end] = Some(layers[stage.end - 1].output.elements());
        }
        let all = || {
            let memories = elements.iter().map(|&elements| match elements {
                Some(elements) => Ok(Some(gpu.allocate(F * images * elements)?)),
                None => Ok(None),
            });
            memories.collect::<Result<Vec<_>, EngineError>>()
        };
        Ok(Self {
            images,
            activations: all()?,
            d_activations: all()?,
            winners,
            values,
            between: convnet
                .map(|convnet| Between::new(gpu, convnet, images))
                .transpose()?,
            labels: gpu.allocate(images)?,
        })
    }

    /// What is before the layer at `place`.
    pub(super) fn activation(&self, place: usize) -> &M {
        at(&self.activations, place)
    }

    /// Its gradient.
    pub(super) fn d_activation(&self, place: usize) -> &M {
        at(&self.d_activations, place)
    }

    /// What the fused stage whose first layer is at `place` keeps.
    pub(super) fn winners(&self, place: usize) -> &Winners<M> {
        let winners = self.winners[place].as_ref();
        winners.expect("a fused stage begins there")
    }

    /// What a step in three kernels keeps between them.
    pub(super) fn between(&self) -> &Between<M> {
        self.between.as_ref().expect("there is such a step")
    }

    /// What the classifier keeps.
    pub(super) fn values(&self) -> &Values<M> {
        self.values.as_ref().expect("the last stage is one")
    }
}

/// What a step in three kernels keeps between them, beside what all do.
pub(super) struct Between<M> {
    /// Parts of the first linear layer's output: [`Convnet::hidden`].
    pub(super) hidden: M,
    /// Parts of the convolutions' gradients: [`Convnet::partial`].
    pub(super) partial: M,
}

impl<M> Between<M> {
    fn new<G: Gpu<Memory = M>>(
        gpu: &G,
        convnet: &Convnet,
        images: usize,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            hidden: gpu.allocate(F * convnet.hidden(images))?,
            partial: gpu.allocate(F * convnet.partial(images))?,
        })
    }
}

impl<M> Values<M> {
    fn new<G: Gpu<Memory = M>>(gpu: &G, width: usize, images: usize) -> Result<Self, EngineError> {
        Ok(Self {
            values: gpu.allocate(F * images * width)?,
            d_values: gpu.allocate(F * images * width)?,
            losses: gpu.allocate(F * images)?,
            rights: gpu.allocate(size_of::<i32>() * images)?,
            ticket: super::filled_with_bytes(gpu, &[0; size_of::<u32>()])?,
        })
    }
}

impl<M> Winners<M> {
    fn new<G: Gpu<Memory = M>>(gpu: &G, fused: &Fused, images: usize) -> Result<Self, EngineError> {
        let windows: usize = fused.pool.y().iter().product();
        let tickets = vec![0; size_of::<u32>() * fused.pairs()];
        Ok(Self {
            pixels: gpu.allocate(size_of::<i32>() * images * windows)?,
            partial: gpu.allocate(F * fused.partial(images))?,
            tickets: super::filled_with_bytes(gpu, &tickets)?,
        })
    }
}

/// The memory at `place`, or the one before it that flatten left where it is.
fn at<M>(memories: &[Option<M>], place: usize) -> &M {
    let there = memories[..=place].iter().rev().flatten().next();
    there.expect("the network's input has memory")
}
