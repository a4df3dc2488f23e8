//! The folder that a run leaves: weights, history, and what it takes to know the run again.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;

use super::checkpoint::{Checkpoint, CheckpointError, CheckpointFault};
use super::history;
use super::run_record::RunRecord;
use crate::files::{UNFINISHED, remove, write_whole};
use crate::formats::weights::ModelError;

/// Where runs go that are given no folder.
pub const RUNS: &str = "runs";

/// The record of a run.
pub const RUN: &str = "run.json";

const STATE: &str = "state.safetensors";
const MODEL: &str = "model.safetensors";
const BEST: &str = "best.safetensors";
const HISTORY: &str = "history.csv";
const CURVES_SVG: &str = "curves.svg";
const CURVES_PNG: &str = "curves.png";

/// All files of a run, the state first, from which the others can be made again.
const FILES: [&str; 7] = [STATE, MODEL, BEST, HISTORY, CURVES_SVG, CURVES_PNG, RUN];

/// What the process that writes a folder holds locked. The operating system lets it go when the
/// process ends, however it ends.
const LOCK: &str = ".lock";

/// A run's folder that could not be made or written.
#[derive(Debug, Error)]
pub enum RunFolderError {
    /// The operating system could not.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a run already.
    #[error("{}: there is a run in this folder already; --resume goes on with it, --overwrite replaces it", .0.display())]
    Taken(PathBuf),
    /// Another process is writing there.
    #[error("{}: another process is training into this folder", .0.display())]
    Locked(PathBuf),
    /// There is a run, but nothing to go on from.
    #[error("{}: there is a run in this folder, but no {STATE} to go on from; --overwrite replaces it", .0.display())]
    NoState(PathBuf),
    /// `run.json` is none.
    #[error("{}: no record of a run: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The weights could not be written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The state could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// The folder of one run. No other process can have it at the same time.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// An older run is still in it, whole, until the new one has weights.
    old_run: bool,
    /// Locked as long as this lives.
    _lock: File,
}

impl RunFolder {
    /// Makes the next free folder under `runs`: `runs/1`, `runs/2` and so on.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn next(runs: &Path) -> Result<Self, RunFolderError> {
        let error = |path: &Path, source| RunFolderError::Io {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(runs).map_err(|e| error(runs, e))?;
        let entries = fs::read_dir(runs).map_err(|e| error(runs, e))?;
        let largest = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok())
            .max();
        let mut number = largest.unwrap_or(0);
        loop {
            number = number.saturating_add(1);
            let path = runs.join(number.to_string());
            match fs::create_dir(&path) {
                Ok(()) => return Self::locked(&path),
                // Another run was faster.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < u64::MAX => {}
                Err(e) => return Err(error(&path, e)),
            }
        }
    }

    /// Makes or takes the folder at `path`. A run that is there is only replaced if `overwrite`,
    /// and not before the new one has weights.
    ///
    /// # Errors
    /// If there is a run, if another process has the folder, or if it cannot be made.
    pub fn at(path: &Path, overwrite: bool) -> Result<Self, RunFolderError> {
        let mut folder = Self::locked(path)?;
        folder.old_run = folder.has_any(&FILES);
        if folder.old_run && !overwrite {
            return Err(RunFolderError::Taken(path.to_owned()));
        }
        Ok(folder)
    }

    /// Makes or takes the folder at `path`, with what its run left to go on from; nothing, if it
    /// had not done its first epoch.
    ///
    /// # Errors
    /// If the state cannot be read, or there are weights without one; else as [`RunFolder::at`].
    pub fn resume(path: &Path) -> Result<(Self, Option<Checkpoint>), RunFolderError> {
        let folder = Self::locked(path)?;
        match folder.checkpoint()? {
            None if folder.has_any(&[MODEL, BEST, HISTORY]) => {
                Err(RunFolderError::NoState(path.to_owned()))
            }
            checkpoint => Ok((folder, checkpoint)),
        }
    }

    /// What its run left to go on from, if it did an epoch.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, RunFolderError> {
        let state = self.path.join(STATE);
        match fs::symlink_metadata(&state) {
            Ok(_) => Ok(Some(Checkpoint::open(&state)?)),
            Err(_) => Ok(None),
        }
    }

    /// Makes or takes the folder at `path`, whatever is there, for this process alone. What a
    /// process that was killed had not finished writing goes away.
    fn locked(path: &Path) -> Result<Self, RunFolderError> {
        let error = |path: &Path, source| RunFolderError::Io {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(|e| error(path, e))?;
        let place = path.join(LOCK);
        let mut options = File::options();
        let lock = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(&place);
        let lock = lock.map_err(|e| error(&place, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RunFolderError::Locked(path.to_owned())),
            // Some file systems of networks have no locks; they should not keep one from training.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(error(&place, e)),
        }
        for entry in fs::read_dir(path).map_err(|e| error(path, e))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                remove(&entry.path()).map_err(|e| error(&entry.path(), e))?;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            old_run: false,
            _lock: lock,
        })
    }

    /// Whether any of these is there.
    fn has_any(&self, names: &[&str]) -> bool {
        let there = |name: &&str| fs::symlink_metadata(self.path.join(name)).is_ok();
        names.iter().any(there)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an older run is still there, which will be replaced.
    pub fn has_old_run(&self) -> bool {
        self.old_run
    }

    /// Where its weights are, or will be.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// The files that are there.
    pub fn files(&self) -> Vec<&'static str> {
        let there = |name: &&str| self.path.join(name).is_file();
        FILES.into_iter().filter(there).collect()
    }

    /// Writes what an epoch left, each file whole or not at all: the state first, which is enough
    /// to make the others again, then the weights, the best ones where a validation part judges,
    /// and the history. Of an older run that was to be replaced nothing is left.
    ///
    /// # Errors
    /// Naming the file that could not be written or removed.
    pub fn save_epoch(&mut self, checkpoint: &Checkpoint) -> Result<(), RunFolderError> {
        let state = self.path.join(STATE);
        checkpoint.save(&state)?;
        // What an older run alone had would be taken for this one's.
        if std::mem::take(&mut self.old_run) {
            // The weights are replaced, not removed: somebody may be reading them.
            for path in FILES[2..].iter().map(|name| self.path.join(name)) {
                remove(&path).map_err(|source| RunFolderError::Io { path, source })?;
            }
        }
        let unfit = |fault: CheckpointFault| CheckpointError {
            file: state.display().to_string(),
            fault,
        };
        let rule = checkpoint.record.recipe.rule(1);
        let weights = rule.weights(&checkpoint.state).to_vec();
        checkpoint
            .model(weights)
            .map_err(unfit)?
            .save(&self.model())?;
        let best = self.path.join(BEST);
        match &checkpoint.best {
            Some(weights) => checkpoint
                .model(weights.clone())
                .map_err(unfit)?
                .save(&best)?,
            // A run that replaced another, and was killed then, left the other's.
            None => remove(&best).map_err(|source| RunFolderError::Io { path: best, source })?,
        }
        self.write(HISTORY, history::csv(&checkpoint.history).as_bytes())
    }

    /// Writes the curves of the history as pictures.
    ///
    /// # Errors
    /// Naming the file that could not be written.
    pub fn save_curves(&self, svg: &str, png: &[u8]) -> Result<(), RunFolderError> {
        self.write(CURVES_SVG, svg.as_bytes())?;
        self.write(CURVES_PNG, png)
    }

    /// Writes `run.json`: what was run, and how it went. While an older run is still there, it
    /// only tries whether the folder can be written.
    ///
    /// # Errors
    /// Naming the file that could not be written.
    pub fn save_run(&self, record: &RunRecord) -> Result<(), RunFolderError> {
        let path = self.path.join(RUN);
        if self.old_run {
            return match tempfile::tempfile_in(&self.path) {
                Ok(_) => Ok(()),
                Err(source) => Err(RunFolderError::Io { path, source }),
            };
        }
        let json = serde_json::to_string_pretty(record);
        let json = json.map_err(|source| RunFolderError::Record { path, source })?;
        self.write(RUN, format!("{json}\n").as_bytes())
    }

    /// Reads the record of the run in the folder at `path`.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn record(path: &Path) -> Result<RunRecord, RunFolderError> {
        let path = path.join(RUN);
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json)
                .map_err(|source| RunFolderError::Record { path, source }),
            Err(source) => Err(RunFolderError::Io { path, source }),
        }
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<(), RunFolderError> {
        let path = self.path.join(name);
        write_whole(&path, contents).map_err(|source| RunFolderError::Io { path, source })
    }
}

/// The newest run under `runs`, whether it has weights or not, if there is one.
pub fn newest(runs: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(runs).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let written = fs::metadata(path.join(RUN)).ok()?.modified().ok()?;
        Some((written, path))
    });
    folders.max().map(|(_, path)| path)
}

/// The weights of the newest run under `runs`, if there is one.
pub fn newest_model(runs: &Path) -> Option<PathBuf> {
    let models = fs::read_dir(runs).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path().join(MODEL);
        let written: SystemTime = fs::metadata(&path).ok()?.modified().ok()?;
        Some((written, path))
    });
    models.max().map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::Metrics;
    use crate::files::faults::fail_after;
    use crate::optimisers::TrainingState;
    use crate::training::{EpochRecord, Recipe};
    use serde_json::json;

    /// A run of a network with 10 parameters, whose numbers are all `epoch`, at the end of it.
    fn after(epoch: u32, validation: usize) -> Checkpoint {
        let recipe = Recipe {
            validation,
            ..Recipe::default()
        };
        let record = json!({
            "longhand": "0", "command": [], "status": "running", "started": "",
            "machine": {"cpu": "", "engine": "lanes", "threads": 1},
            "data": {
                "name": "none", "train_images": 64 + validation, "test_images": 1, "classes": 2,
                "mean": [0.0], "deviation": [1.0], "files": [],
            },
            "network": "input 1x2x2, flatten, linear 2", "parameters": 10, "recipe": recipe,
        });
        let vector = || vec![epoch as f32; 10];
        let judged = Metrics {
            loss_sum: 1.0 / f64::from(epoch),
            correct: 1,
            examples: 1,
        };
        Checkpoint {
            record: serde_json::from_value(record).unwrap(),
            history: (1..=epoch)
                .map(|epoch| EpochRecord {
                    epoch,
                    seconds: 0.1,
                    train: judged,
                    test: judged,
                    validation: (validation > 0).then_some(judged),
                    lr: 0.01,
                })
                .collect(),
            state: TrainingState {
                first_moment: vector(),
                second_moment: vector(),
                average: vector(),
                parameters: vector(),
                steps: 2 * u64::from(epoch),
            },
            best: (validation > 0).then(vector),
        }
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != LOCK).collect();
        names.sort();
        names
    }

    /// Saves `next` where `first` was, and lets the operations on files fail, all from the first
    /// on, then all from the second on, and so on.
    fn whatever_fails(first: &Checkpoint, next: &Checkpoint, overwrite: bool) {
        for count in 0.. {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("run");
            let mut folder = RunFolder::at(&path, false).unwrap();
            folder.save_epoch(first).unwrap();
            if overwrite {
                drop(folder);
                folder = RunFolder::at(&path, true).unwrap();
            }
            fail_after(count);
            let saved = folder.save_epoch(next);
            fail_after(usize::MAX);
            drop(folder);

            assert!(names(&path).iter().all(|name| !name.starts_with('.')));
            crate::model::Model::open(&path.join(MODEL), None).unwrap();
            let (mut folder, left) = RunFolder::resume(&path).unwrap();
            let left = left.unwrap();
            assert!(left == *first || left == *next, "{count}: {left:?}");
            // What the state is of is made again.
            folder.save_epoch(&left).unwrap();
            let model = crate::model::Model::open(&path.join(MODEL), None).unwrap();
            assert_eq!(model.parameters, left.state.parameters);
            assert_eq!(path.join(BEST).is_file(), left.best.is_some());
            if let Ok(()) = saved {
                assert!(count > 10, "only {count} operations were seen");
                assert!(left == *next);
                return;
            }
        }
    }

    #[test]
    fn whatever_fails_there_is_a_whole_checkpoint() {
        whatever_fails(&after(1, 0), &after(2, 0), false);
        whatever_fails(&after(1, 8), &after(2, 8), false);
        whatever_fails(&after(3, 8), &after(1, 0), true);
        whatever_fails(&after(3, 0), &after(1, 8), true);
    }

    #[test]
    fn a_folder_belongs_to_one_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let held = RunFolder::at(place.path(), false).unwrap();
        for second in [
            RunFolder::at(place.path(), false).err(),
            RunFolder::at(place.path(), true).err(),
            RunFolder::resume(place.path()).err(),
        ] {
            assert!(
                matches!(second, Some(RunFolderError::Locked(_))),
                "{second:?}"
            );
        }
        drop(held);
        RunFolder::at(place.path(), false).unwrap();
    }

    #[test]
    fn what_was_not_finished_goes_away() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(".unfinished-x1"), "half").unwrap();
        fs::write(place.path().join("mine"), "whole").unwrap();
        RunFolder::at(place.path(), false).unwrap();
        assert_eq!(names(place.path()), ["mine"]);
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        for checkpoint in [after(2, 0), after(5, 8)] {
            let bytes = checkpoint.encode().unwrap();
            assert_eq!(Checkpoint::decode(&bytes).unwrap(), checkpoint);
        }
    }

    #[test]
    fn a_checkpoint_that_contradicts_itself_is_refused() {
        let refused = |change: &dyn Fn(&mut Checkpoint), word: &str| {
            let mut checkpoint = after(2, 8);
            change(&mut checkpoint);
            let error = Checkpoint::decode(&checkpoint.encode().unwrap()).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        };
        refused(&|c| c.history.clear(), "history");
        refused(&|c| c.history[1].epoch = 3, "history");
        refused(&|c| c.record.recipe.epochs = 1, "history");
        refused(&|c| c.history[0].validation = None, "validation");
        refused(&|c| c.record.recipe.validation = 0, "validation");
        refused(&|c| c.state.steps = 5, "5 steps");
        refused(&|c| c.record.data.train_images = usize::MAX, "4 steps");
        refused(&|c| c.state.average[3] = f32::NAN, "average");
        refused(&|c| c.state.second_moment.push(0.0), "second_moment");
        refused(&|c| c.best = None, "best");
        refused(
            &|c| c.record.network = "input 1x2x2, flatten".into(),
            "not 0 numbers",
        );
        refused(&|c| c.record.network = "linear".into(), "record");
    }
}
