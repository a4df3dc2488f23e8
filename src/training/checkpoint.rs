//! `state.safetensors`: all that it takes to go on with a run that was stopped, in one file.
//!
//! Its tensors are flat vectors of the same form, (P), `f32`: `parameters`, `first_moment`,
//! `second_moment` and `average` of the [`TrainingState`], and `best`, the weights of the best
//! epoch, where a validation part judges. The metadata hold one entry, `longhand-run`: JSON with
//! the run's record, its history in digits that give the same numbers again, and the steps done.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::history::{self, EpochRecord};
use super::run_record::RunRecord;
use crate::data::Normalisation;
use crate::files::{read_at_most, write_whole};
use crate::layers::MAX_ELEMENTS;
use crate::model::Model;
use crate::network::{Description, Network};
use crate::optimisers::TrainingState;

/// The largest file that is read as a checkpoint: five vectors of the largest network, and 100 MB
/// of header, which is safetensors' own limit.
pub const MAX_FILE: u64 = 5 * 4 * MAX_ELEMENTS as u64 + 100_000_000;

/// The metadata's key.
const KEY: &str = "longhand-run";

/// The vectors that are always there, as [`TrainingState`] names them.
const VECTORS: [&str; 4] = ["parameters", "first_moment", "second_moment", "average"];

/// The vector that is there where a validation part judges.
const BEST: &str = "best";

/// A file that gives or takes no checkpoint: which one, and why.
#[derive(Debug, Error)]
#[error("{file}: {fault}")]
pub struct CheckpointError {
    /// The file's path.
    pub file: String,
    /// What is wrong with it.
    pub fault: CheckpointFault,
}

/// What can be wrong with the file of a checkpoint.
#[derive(Debug, Error)]
pub enum CheckpointFault {
    /// The operating system could not read or write.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No safetensors file.
    #[error("no whole safetensors file: {0}")]
    Safetensors(String),
    /// A safetensors file of something else.
    #[error("a safetensors file, but not a run's state: its metadata have no entry `{KEY}`")]
    Other,
    /// The entry of the metadata cannot be read.
    #[error("its record cannot be read: {0}")]
    Record(String),
    /// A vector is missing, or not of the network's form.
    #[error("{0} is not {1} numbers of type F32, all finite")]
    Vector(&'static str, usize),
    /// The parts contradict each other.
    #[error("its parts do not belong together: {0}")]
    Contradiction(String),
}

/// A run at the end of an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What is run.
    pub record: RunRecord,
    /// The epochs that were done, from the first on.
    pub history: Vec<EpochRecord>,
    /// Everything that training changes.
    pub state: TrainingState,
    /// The weights of the best epoch by its validation, where a part is held out.
    pub best: Option<Vec<f32>>,
}

/// What the metadata hold.
#[derive(Serialize, Deserialize)]
struct Metadata<R, H> {
    record: R,
    history: H,
    steps: u64,
}

impl Checkpoint {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// With the path and the [`CheckpointFault`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = read_at_most(path, MAX_FILE).map_err(CheckpointFault::from);
        bytes
            .and_then(|bytes| Self::decode(&bytes))
            .map_err(|fault| error(path, fault))
    }

    /// Writes the file at `path`, whole or not at all.
    ///
    /// # Errors
    /// With the path and the [`CheckpointFault`].
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let bytes = self.encode();
        bytes
            .and_then(|bytes| Ok(write_whole(path, &bytes)?))
            .map_err(|fault| error(path, fault))
    }

    /// The run's model: the network and the normalisation of its record, with these `parameters`.
    ///
    /// # Errors
    /// If the record's network or normalisation is none.
    pub fn model(&self, parameters: Vec<f32>) -> Result<Model, CheckpointFault> {
        let network = network(&self.record)?;
        let data = &self.record.data;
        let normalisation = Normalisation::new(data.mean.clone(), data.deviation.clone())
            .filter(|normalisation| normalisation.channels() == network.input()[0])
            .ok_or_else(|| contradiction("mean and deviation do not suit the network"))?;
        Ok(Model {
            network,
            normalisation,
            parameters,
            class_names: data.class_names.clone(),
            trained_on: data.name.clone(),
        })
    }

    /// The best epoch by its validation, where a part is held out.
    pub fn best_epoch(&self) -> Option<&EpochRecord> {
        history::best(&self.history)
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// None but those of a fault in this crate.
    pub fn encode(&self) -> Result<Vec<u8>, CheckpointFault> {
        let metadata = Metadata {
            record: &self.record,
            history: &self.history,
            steps: self.state.steps,
        };
        let metadata = serde_json::to_string(&metadata)
            .map_err(|error| CheckpointFault::Record(error.to_string()))?;
        let TrainingState {
            parameters,
            first_moment,
            second_moment,
            average,
            ..
        } = &self.state;
        let vectors = VECTORS
            .into_iter()
            .zip([parameters, first_moment, second_moment, average])
            .chain(self.best.as_ref().map(|best| (BEST, best)));
        let bytes: Vec<(&str, Vec<u8>)> = vectors
            .map(|(name, vector)| (name, vector.iter().flat_map(|x| x.to_le_bytes()).collect()))
            .collect();
        let damaged =
            |error: safetensors::SafeTensorError| CheckpointFault::Safetensors(error.to_string());
        let tensors = bytes.iter().map(|(name, bytes)| {
            let tensor = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
            tensor.map(|tensor| (*name, tensor))
        });
        let tensors: Vec<_> = tensors.collect::<Result<_, _>>().map_err(damaged)?;
        let metadata = HashMap::from([(KEY.to_owned(), metadata)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(damaged)
    }

    /// The checkpoint in a file's bytes.
    ///
    /// # Errors
    /// If the bytes are no safetensors file, or not one of a run, or if record, history and
    /// vectors do not belong together.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointFault> {
        let damaged =
            |error: safetensors::SafeTensorError| CheckpointFault::Safetensors(error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let metadata = header.metadata().as_ref().and_then(|map| map.get(KEY));
        let metadata = metadata.ok_or(CheckpointFault::Other)?;
        let Metadata {
            record,
            history,
            steps,
        } = serde_json::from_str::<Metadata<RunRecord, Vec<EpochRecord>>>(metadata)
            .map_err(|error| CheckpointFault::Record(error.to_string()))?;

        let count = network(&record)?.parameter_count();
        let [parameters, first_moment, second_moment, average] =
            VECTORS.map(|name| vector(&tensors, name, count));
        let best = match history::best(&history) {
            Some(_) => Some(vector(&tensors, BEST, count)?),
            None => None,
        };
        let checkpoint = Self {
            record,
            history,
            state: TrainingState {
                parameters: parameters?,
                first_moment: first_moment?,
                second_moment: second_moment?,
                average: average?,
                steps,
            },
            best,
        };
        checkpoint.check()?;
        Ok(checkpoint)
    }

    /// Checks that the epochs are the first ones of the record's recipe, and the steps theirs.
    fn check(&self) -> Result<(), CheckpointFault> {
        let (recipe, data) = (&self.record.recipe, &self.record.data);
        let done = self.history.len();
        let numbers = self.history.iter().map(|record| record.epoch);
        if done == 0 || !numbers.eq(1..=recipe.epochs.min(u32::try_from(done).unwrap_or(0))) {
            let epochs = recipe.epochs;
            return Err(contradiction(format!(
                "the history is not of the first of {epochs} epochs"
            )));
        }
        let validated = |record: &EpochRecord| record.validation.is_some();
        if !self
            .history
            .iter()
            .all(|r| validated(r) == (recipe.validation > 0))
        {
            return Err(contradiction(
                "the history's validation is not the recipe's",
            ));
        }
        let examples = data.train_images.saturating_sub(recipe.validation);
        let steps = recipe
            .rule(examples)
            .steps
            .per_epoch
            .checked_mul(done as u64);
        if steps != Some(self.state.steps) {
            let found = self.state.steps;
            return Err(contradiction(format!(
                "{found} steps are not those of {done} epochs"
            )));
        }
        Ok(())
    }
}

fn error(path: &Path, fault: CheckpointFault) -> CheckpointError {
    CheckpointError {
        file: path.display().to_string(),
        fault,
    }
}

fn contradiction(what: impl Into<String>) -> CheckpointFault {
    CheckpointFault::Contradiction(what.into())
}

fn network(record: &RunRecord) -> Result<Network, CheckpointFault> {
    let unreadable = |error: String| CheckpointFault::Record(error);
    let description: Description = (record.network.parse())
        .map_err(|error: crate::network::TextError| unreadable(error.to_string()))?;
    Network::new(&description, None).map_err(|error| unreadable(error.to_string()))
}

/// The tensor called `name`, which must be a vector of `count` finite numbers.
fn vector(
    tensors: &SafeTensors,
    name: &'static str,
    count: usize,
) -> Result<Vec<f32>, CheckpointFault> {
    let tensor = tensors.tensor(name).ok();
    tensor
        .filter(|tensor| tensor.dtype() == Dtype::F32 && tensor.shape() == [count])
        .map(|tensor| {
            let (numbers, _) = tensor.data().as_chunks::<4>();
            numbers.iter().map(|&x| f32::from_le_bytes(x)).collect()
        })
        .filter(|vector: &Vec<f32>| vector.iter().all(|x| x.is_finite()))
        .ok_or(CheckpointFault::Vector(name, count))
}
