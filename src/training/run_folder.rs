//! The folder that a run leaves: weights, history, and what it takes to know the run again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;

use super::history::{self, EpochRecord};
use super::run_record::RunRecord;
use crate::formats::safetensors::ModelError;
use crate::formats::write_whole;
use crate::model::Model;

/// Where runs go that are given no folder.
pub const RUNS: &str = "runs";

const MODEL: &str = "model.safetensors";
const BEST: &str = "best.safetensors";
const HISTORY: &str = "history.csv";
const CURVES_SVG: &str = "curves.svg";
const CURVES_PNG: &str = "curves.png";
const RUN: &str = "run.json";

/// All files of a run, the record last.
const FILES: [&str; 6] = [MODEL, BEST, HISTORY, CURVES_SVG, CURVES_PNG, RUN];

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
    #[error("{}: there is a run in this folder already; --overwrite replaces it", .0.display())]
    Taken(PathBuf),
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
}

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
    /// An older run is still in it, whole, until the new one has weights.
    old_run: bool,
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
                Ok(()) => {
                    return Ok(Self {
                        path,
                        old_run: false,
                    });
                }
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
    /// If there is a run, or the folder cannot be made.
    pub fn at(path: &Path, overwrite: bool) -> Result<Self, RunFolderError> {
        fs::create_dir_all(path).map_err(|source| RunFolderError::Io {
            path: path.to_owned(),
            source,
        })?;
        let there = |name: &&str| fs::symlink_metadata(path.join(name)).is_ok();
        let old_run = FILES.iter().any(there);
        if old_run && !overwrite {
            return Err(RunFolderError::Taken(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            old_run,
        })
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

    /// Writes the weights and the history, each whole or not at all; the weights as the best,
    /// too, if they are. Of an older run that was to be replaced nothing is left.
    ///
    /// # Errors
    /// Naming the file that could not be written or removed.
    pub fn save_epoch(
        &mut self,
        model: &Model,
        best: bool,
        history: &[EpochRecord],
    ) -> Result<(), RunFolderError> {
        model.save(&self.model())?;
        if std::mem::take(&mut self.old_run) {
            for path in FILES[1..].iter().map(|name| self.path.join(name)) {
                match fs::remove_file(&path) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        return Err(RunFolderError::Io { path, source });
                    }
                    _ => {}
                }
            }
        }
        if best {
            model.save(&self.path.join(BEST))?;
        }
        self.write(HISTORY, history::csv(history).as_bytes())
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

/// The weights of the newest run under `runs`, if there is one.
pub fn newest_model(runs: &Path) -> Option<PathBuf> {
    let models = fs::read_dir(runs).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path().join(MODEL);
        let written: SystemTime = fs::metadata(&path).ok()?.modified().ok()?;
        Some((written, path))
    });
    models.max().map(|(_, path)| path)
}
