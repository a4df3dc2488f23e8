//! What differs from step to step, as `kernels/step.h` has it: a table of an epoch's steps, which goes
//! to the GPU once, and how far the epoch is, which the kernels count there. So the kernels of a step
//! are told the same every time.

use super::sizes;
use crate::engines::{EngineError, Metrics};
use crate::optimisers::{Optimiser, StepRule};

/// What a step of an epoch has of its own.
pub(super) struct Step {
    start: u32,
    done: u32,
    rate: f32,
    root: f32,
    decay: f32,
    kept: f32,
    fresh: f32,
}

impl Step {
    /// How many bytes it has.
    const BYTES: usize = 28;

    /// Of `rule`, with its batch from place `start` of the order on, behind `done` others.
    pub(super) fn new(rule: &StepRule, start: usize, done: u64) -> Result<Self, EngineError> {
        let lr = rule.lr(done);
        let [decay, rate, root] = match &rule.optimiser {
            Optimiser::Sgd(_) => [1.0, lr, 1.0],
            // As `Adam::step` has them.
            Optimiser::Adam(adam) => {
                let t = i32::try_from(done + 1).unwrap_or(i32::MAX);
                let decay = if adam.decoupled {
                    1.0 - lr * adam.weight_decay
                } else {
                    1.0
                };
                let rate = lr / (1.0 - adam.beta1.powi(t));
                let root = (1.0 - adam.beta2.powi(t)).sqrt();
                [decay, rate, root]
            }
        };
        // The first average is the parameters themselves.
        let kept = match rule.average {
            Some(decay) if done > 0 => decay,
            _ => 0.0,
        };
        Ok(Self {
            start: sizes::int(start)?.unsigned_abs(),
            // Draws are numbered by 32 bits.
            done: done as u32,
            rate: rate as f32,
            root: root as f32,
            decay: decay as f32,
            kept: kept as f32,
            fresh: (1.0 - kept) as f32,
        })
    }

    /// As the kernels have it.
    fn bytes(&self) -> impl Iterator<Item = u8> + use<> {
        let numbers = [self.rate, self.root, self.decay, self.kept, self.fresh];
        let words = [self.start, self.done].map(u32::to_ne_bytes);
        let numbers = numbers.map(f32::to_ne_bytes);
        words.into_iter().chain(numbers).flatten()
    }
}

/// The table of an epoch whose batches begin at these places of its order, behind `done` steps, as the
/// kernels have it. Whoever counts the last step looks at one row more.
pub(super) fn table(
    rule: &StepRule,
    starts: impl Iterator<Item = usize>,
    done: u64,
) -> Result<Vec<u8>, EngineError> {
    let mut table = Vec::new();
    for (done, start) in (done..).zip(starts.chain([0])) {
        table.extend(Step::new(rule, start, done)?.bytes());
    }
    Ok(table)
}

/// How far an epoch is, and what it adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Progress {
    loss_sum: f64,
    correct: u64,
    /// Steps of which the loss is known.
    pub(super) steps: u64,
    /// The first step, from 1 on, whose loss was not finite, or 0.
    bad_step: u64,
    bad_loss: f64,
}

impl Progress {
    /// How many bytes it has.
    pub(super) const BYTES: usize = 40;

    /// How many the kernels' has: the coming step and the present one are behind it.
    pub(super) const ALL_BYTES: usize = Self::BYTES + 2 * Step::BYTES;

    /// As the kernels have it at the beginning of an epoch. Its first step is the coming one, and the
    /// present one too, for passes that gather no batch.
    pub(super) fn beginning(table: &[u8]) -> [u8; Self::ALL_BYTES] {
        let first = &table[..Step::BYTES];
        let mut bytes = [0; Self::ALL_BYTES];
        for (to, from) in bytes[Self::BYTES..]
            .iter_mut()
            .zip(first.iter().chain(first))
        {
            *to = *from;
        }
        bytes
    }

    /// From as many bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |place: usize| u64::from_ne_bytes(words[place]);
        Self {
            loss_sum: f64::from_bits(word(0)),
            correct: word(1),
            steps: word(2),
            bad_step: word(3),
            bad_loss: f64::from_bits(word(4)),
        }
    }

    /// Of an epoch of `of` examples.
    ///
    /// # Errors
    /// If a loss was not finite, in an epoch before which `done` steps were done.
    pub(super) fn metrics(
        &self,
        rule: &StepRule,
        of: usize,
        done: u64,
    ) -> Result<Metrics, EngineError> {
        if self.bad_step > 0 {
            return Err(EngineError::NotFinite {
                step: self.bad_step as usize,
                loss: self.bad_loss,
                lr: rule.lr(done + self.bad_step - 1),
            });
        }
        Ok(self.totals(
            (self.steps as usize)
                .saturating_mul(rule.batch_size)
                .min(of),
        ))
    }

    /// Of so many examples, whatever the loss.
    pub(super) fn totals(&self, examples: usize) -> Metrics {
        Metrics {
            loss_sum: self.loss_sum,
            correct: self.correct as usize,
            examples,
        }
    }
}
