//! The steps of an epoch on all threads, which meet twice in each, or four times.
//!
//! 1. Every thread takes slices of the batch, and adds up a gradient for each, with a copy of the
//!    parameters that is its own.
//! 2. They meet. Every thread has a part of the parameters: it adds the slices' gradients up for that
//!    part, in their order, and updates it (`part.rs`). Whoever has which part, the sums are the same. Those
//!    of two layers that are merged are in bands, which the threads share out (`bands.rs`).
//! 3. They meet, the first thread having reported, and each copies all parts, and adds up the bands' shares.
//!
//! Where the gradient's norm is clipped, they also meet twice between the sum and the update, for the
//! norm is that of all parts: when all have their sums, and when all have read them.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Instant;

use super::bands::{self, Band};
use super::part::{self, Part, Step};
use super::plan::{Kind, Stage};
use super::workspace::Workspace;
use super::{locked, read, write};
use crate::data::Batch;
use crate::engines::{Metrics, slices};
use crate::hardware::cache::{self, Trial};
use crate::hardware::lanes::{Lanes, Numbers};
use crate::hardware::workers::{Abandoned, Panicked, Worker, Workers};
use crate::layers::dropout::Draws;
use crate::network::Network;
use crate::optimisers::{StepRule, TrainingState, clipping};

/// What one slice of a batch adds up.
pub(super) struct Slice<T: Lanes> {
    /// (P), of which [`Stage::added`] says what there is.
    d_parameters: Numbers<T>,
    metrics: Metrics,
}

impl<T: Lanes> Slice<T> {
    /// Of a network with so many parameters.
    pub(super) fn new(lanes: T, parameters: usize) -> Self {
        Self {
            d_parameters: Numbers::zeros(lanes, parameters),
            metrics: Metrics::default(),
        }
    }
}

/// Batches in their order, as often as there are threads.
pub(super) type Batches<'b> = Box<dyn Iterator<Item = Batch<'b>> + 'b>;

/// What the threads compute with. No lock is ever waited for: they are taken between the threads'
/// meetings, by one alone or by all to read.
pub(super) struct Steps<'a, T: Lanes> {
    pub(super) lanes: T,
    pub(super) network: &'a Network,
    pub(super) stages: &'a [Stage],
    pub(super) workers: &'a Workers,
    /// One a worker.
    pub(super) workspaces: &'a [Mutex<Workspace<T>>],
    /// The parameters, one a worker: (P) each, of which those of bands are not there.
    pub(super) copies: &'a [Mutex<Numbers<T>>],
    /// What layers that are merged have.
    pub(super) bands: &'a [RwLock<Band<T>>],
    /// As many as any of the batches has, or more.
    pub(super) slices: &'a [RwLock<Slice<T>>],
    pub(super) rule: &'a StepRule,
    /// Whether lines that were read are given back: goes on from one run to the next.
    pub(super) trial: &'a Mutex<Trial>,
    /// Whether parameters are updated, or only gradients wanted.
    pub(super) update: bool,
}

impl<T: Lanes> Steps<'_, T> {
    /// Does a step for every batch, or computes its gradient only, and after each calls `each` with
    /// the number of steps done and the batch's metrics, on the caller's thread. Ends after the last
    /// batch, or when `each` says so.
    ///
    /// - `state`: changed
    /// - `sum`: (P), the gradient of the last batch
    ///
    /// # Errors
    /// If a worker panics.
    pub(super) fn run<'b>(
        &self,
        state: &mut TrainingState,
        sum: &mut [f32],
        batches: impl Fn() -> Batches<'b> + Sync,
        each: impl FnMut(u64, Metrics) -> ControlFlow<()> + Send,
    ) -> Result<(), Panicked> {
        let active = self.slices.len().clamp(1, self.workers.count());
        let done = AtomicU64::new(state.steps);
        for band in self.bands {
            write(band).load(self.lanes, state);
        }
        let gives_back = {
            let mut trial = locked(self.trial);
            trial.pause();
            trial.gives_back()
        };
        let whole = (state.whole(), &mut *sum);
        let parts = part::parts(self.network, self.stages, active, whole);
        let shared = Shared {
            parts: &parts,
            done: &done,
            taken: &AtomicU32::new(0),
            stop: &AtomicBool::new(false),
            gives_back: &AtomicBool::new(gives_back),
            each: &Mutex::new(each),
        };
        let ended = self.workers.run(active, |worker| {
            // Another worker's panic is told by `Workers::run`.
            let _ = self.work(worker, batches(), &shared);
        });
        drop(parts);
        for band in self.bands {
            read(band).store(state, sum);
        }
        state.steps = done.into_inner();
        ended
    }

    /// What one worker does.
    fn work(
        &self,
        worker: Worker,
        batches: Batches,
        shared: &Shared<impl FnMut(u64, Metrics) -> ControlFlow<()>>,
    ) -> Result<(), Abandoned> {
        let mut workspace = locked(&self.workspaces[worker.index]);
        let mut parameters = locked(&self.copies[worker.index]);
        workspace.prepare_training();
        let (mine, active) = (&shared.parts[worker.index], shared.parts.len());
        let bands = || self.bands_of(worker.index, active);
        let mut batches = batches.peekable();
        while let Some(batch) = batches.next() {
            // Who updates has met the others since, so all read the same.
            let done = shared.done.load(Ordering::Relaxed);
            shared.copy_parameters(worker.index, &mut parameters);
            let next = |count| shared.take(worker.index, count);
            let gives_back = shared.gives_back.load(Ordering::Relaxed);
            let prepared = || {
                if gives_back {
                    self.shares_were_read(worker.index, active);
                }
            };
            self.slice_gradients(&mut workspace, &parameters, &batch, done, next, prepared);
            if let Some(next) = batches.peek() {
                cache::will_read(first_images(next, worker.index, active, T::WIDTH));
            }
            read(mine).will_change();
            for band in bands() {
                read(band).will_change();
            }
            worker.wait()?;
            let step = Step {
                rule: self.rule,
                done,
            };
            match self.rule.clip_norm.filter(|_| self.update) {
                None => self.add_up(&batch, mine, bands(), self.update.then_some(step)),
                Some(norm) => {
                    self.add_up(&batch, mine, bands(), None);
                    worker.wait()?;
                    let factor = self.clip_factor(shared.parts, norm);
                    worker.wait()?;
                    part::update(self.lanes, &mut write(mine), factor, step);
                    for band in bands() {
                        bands::update(self.lanes, &mut write(band), factor, step);
                    }
                }
            }
            if gives_back {
                self.gradients_were_read(&batch, worker.index, &read(mine), active);
            }
            if worker.index == 0 {
                let done = done + u64::from(self.update);
                // Before anybody else's code is called, which may panic.
                shared.done.store(done, Ordering::Relaxed);
                let flow = locked(shared.each)(done, self.metrics(&batch));
                shared.stop.store(flow.is_break(), Ordering::Relaxed);
                shared.taken.store(0, Ordering::Relaxed);
                let gives_back = locked(self.trial).step(Instant::now());
                shared.gives_back.store(gives_back, Ordering::Relaxed);
            }
            worker.wait()?;
            if shared.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    }

    /// The slices of a batch that `next` gives, before which `done` steps were done.
    ///
    /// - `next`: told how many slices there are, gives one, or none
    /// - `prepared`: called when the weights are, if there is a slice at all
    fn slice_gradients(
        &self,
        workspace: &mut Workspace<T>,
        parameters: &[f32],
        batch: &Batch,
        done: u64,
        next: impl Fn(usize) -> Option<usize>,
        prepared: impl Fn(),
    ) {
        let (network, stages) = (self.network, self.stages);
        let length = slices::length(batch.len(), T::WIDTH);
        let count = slices::count(batch.len(), T::WIDTH);
        let mut first = true;
        while let Some(index) = next(count) {
            if first {
                workspace.prepare_weights(network, stages, parameters, Some(self.bands));
                prepared();
                first = false;
            }
            let mut slice = write(&self.slices[index]);
            for stage in stages {
                slice.d_parameters[stage.added(network)].fill(0.0);
            }
            slice.metrics = Metrics::default();
            let examples = index * length..batch.len().min((index + 1) * length);
            for start in examples.clone().step_by(T::WIDTH) {
                let group = start..examples.end.min(start + T::WIDTH);
                let draws = Draws {
                    seed: self.rule.seed,
                    step: done,
                    example: start,
                };
                workspace.read(network, group.clone().map(|n| batch.image(n)));
                workspace.forward(network, stages, parameters, Some(draws));
                let metrics = workspace.loss(batch, group, self.rule.label_smoothing);
                slice.metrics.add(metrics);
                let d_parameters = &mut slice.d_parameters;
                workspace.backward(network, stages, parameters, draws, d_parameters, false);
            }
        }
    }

    /// Adds the gradients of the batch's slices up for a part and some bands, and does the step, if there
    /// is one.
    fn add_up<'s>(
        &'s self,
        batch: &Batch,
        part: &RwLock<Part>,
        bands: impl Iterator<Item = &'s RwLock<Band<T>>>,
        step: Option<Step>,
    ) {
        let count = slices::count(batch.len(), T::WIDTH);
        // An array, since nothing is allocated in a step.
        let guards: [_; slices::MOST] =
            std::array::from_fn(|index| (index < count).then(|| read(&self.slices[index])));
        let gradients = guards.each_ref().map(|guard| match guard {
            Some(slice) => &slice.d_parameters[..],
            None => &[],
        });
        let (t, slices) = (self.lanes, &gradients[..count]);
        part::add_up(t, &mut write(part), slices, step);
        for band in bands {
            let mut band = write(band);
            bands::add_up(t, &mut band, slices);
            if let Some(step) = step {
                bands::update(t, &mut band, 1.0, step);
            }
        }
    }

    /// What the gradient is multiplied by, so that it is no longer than `norm`: its squares are added up in
    /// the order of the flat vector.
    fn clip_factor(&self, parts: &[RwLock<Part>], norm: f64) -> f64 {
        let mut squares = 0.0;
        for stage in self.stages {
            let place = stage.parameters(self.network);
            if matches!(stage.kind, Kind::LinearLinear(_)) {
                squares = bands::add_squares(self.bands, &place, squares);
                continue;
            }
            for part in parts {
                for piece in &read(part).pieces {
                    if place.contains(&piece.first) {
                        squares = clipping::add_squares(squares, piece.gradients);
                    }
                }
            }
        }
        clipping::factor(squares, norm)
    }

    /// The bands of the worker at `index`, of `active` workers.
    fn bands_of(&self, index: usize, active: usize) -> impl Iterator<Item = &RwLock<Band<T>>> {
        self.bands.iter().skip(index).step_by(active)
    }

    /// Gives the shares of the others' bands back. Of more than two workers, others may still want to read
    /// them.
    fn shares_were_read(&self, index: usize, active: usize) {
        if active == 2 {
            for band in self.bands_of(1 - index, active) {
                read(band).was_read();
            }
        }
    }

    /// Gives the gradients of the others' slices back, as far as this worker's part is of them. Those of bands
    /// are wanted by all: of two workers the other may have to ask for some of its own again, of more it
    /// would be many.
    fn gradients_were_read(&self, batch: &Batch, index: usize, part: &Part, active: usize) {
        let count = slices::count(batch.len(), T::WIDTH);
        let mine = first_slices(index, active, count);
        for slice in (0..count).filter(|slice| !mine.contains(slice)) {
            let d_parameters = &read(&self.slices[slice]).d_parameters;
            for piece in &part.pieces {
                cache::give_back(&d_parameters[piece.first..][..piece.gradients.len()]);
            }
            if active == 2 {
                for stage in self.stages {
                    if matches!(stage.kind, Kind::LinearLinear(_)) {
                        cache::give_back(&d_parameters[stage.added(self.network)]);
                    }
                }
            }
        }
    }

    /// Loss and hits of a batch.
    fn metrics(&self, batch: &Batch) -> Metrics {
        let mut metrics = Metrics::default();
        for slice in &self.slices[..slices::count(batch.len(), T::WIDTH)] {
            metrics.add(read(slice).metrics);
        }
        metrics
    }
}

/// Of `count` slices, those that the worker at `index` of `active` takes before others.
fn first_slices(index: usize, active: usize, count: usize) -> Range<usize> {
    index * count / active..(index + 1) * count / active
}

/// The images that the worker at `index` of `active` is going to read first.
///
/// - `width`: how many images the lanes have
fn first_images<'b>(
    batch: &Batch<'b>,
    index: usize,
    active: usize,
    width: usize,
) -> impl Iterator<Item = &'b [u8]> {
    let mine = first_slices(index, active, slices::count(batch.len(), width));
    let first = mine.start * slices::length(batch.len(), width);
    (first..batch.len()).take(width).map(|n| batch.image(n))
}

/// What the workers tell each other.
struct Shared<'a, 'p, F> {
    /// One a worker.
    parts: &'a [RwLock<Part<'p>>],
    /// Steps.
    done: &'a AtomicU64,
    /// Which slices somebody has taken, the first being the lowest bit.
    taken: &'a AtomicU32,
    stop: &'a AtomicBool,
    /// Whether lines are given back in this step. The first worker writes it between the last two meetings.
    gives_back: &'a AtomicBool,
    each: &'a Mutex<F>,
}

impl<F> Shared<'_, '_, F> {
    /// What the worker at `index` computes with.
    ///
    /// - `parameters`: (P), written but for those of bands
    fn copy_parameters(&self, index: usize, parameters: &mut [f32]) {
        // Of more than two workers, the others may still want to read it.
        let gives_back = self.parts.len() == 2 && self.gives_back.load(Ordering::Relaxed);
        for (owner, part) in self.parts.iter().enumerate() {
            for piece in &read(part).pieces {
                let length = piece.state.parameters.len();
                parameters[piece.first..][..length].copy_from_slice(piece.state.parameters);
                if owner != index && gives_back {
                    piece.was_read();
                }
            }
        }
    }

    /// One of `count` slices that nobody has taken, for the worker at `index`: first those that it had in
    /// the last batch, whose gradients its core still has.
    fn take(&self, index: usize, count: usize) -> Option<usize> {
        const { assert!(slices::MOST <= u32::BITS as usize) }
        let first = first_slices(index, self.parts.len(), count).start;
        (first..count).chain(0..first).find(|slice| {
            let bit = 1 << slice;
            let free = |taken: u32| taken & bit == 0;
            free(self.taken.load(Ordering::Relaxed))
                && free(self.taken.fetch_or(bit, Ordering::Relaxed))
        })
    }
}
