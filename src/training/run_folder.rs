//! The folder that a run leaves: weights, history, and what it takes to know the run again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use thiserror::Error;

use super::history::{self, EpochRecord};
use crate::formats::safetensors::ModelError;
use crate::formats::write_whole;
use crate::model::Model;

/// Where runs go that are given no folder.
pub const RUNS: &str = "runs";

const MODEL: &str = "model.safetensors";
const HISTORY: &str = "history.csv";
const RUN: &str = "run.json";

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
    /// The weights could not be written.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
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
                Ok(()) => return Ok(Self { path }),
                // Another run was faster.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < u64::MAX => {}
                Err(e) => return Err(error(&path, e)),
            }
        }
    }

    /// Makes or takes the folder at `path`. A run that is there is only replaced if `overwrite`.
    ///
    /// # Errors
    /// If there is a run, or the folder cannot be made.
    pub fn at(path: &Path, overwrite: bool) -> Result<Self, RunFolderError> {
        let error = |path: &Path, source| RunFolderError::Io {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(|e| error(path, e))?;
        let folder = Self {
            path: path.to_owned(),
        };
        for file in [MODEL, HISTORY, RUN].map(|name| path.join(name)) {
            if fs::symlink_metadata(&file).is_err() {
                continue;
            }
            if !overwrite {
                return Err(RunFolderError::Taken(path.to_owned()));
            }
            fs::remove_file(&file).map_err(|e| error(&file, e))?;
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its weights are, or will be.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// Writes the weights and the history, each whole or not at all.
    ///
    /// # Errors
    /// Naming the file that could not be written.
    pub fn save_epoch(&self, model: &Model, history: &[EpochRecord]) -> Result<(), RunFolderError> {
        model.save(&self.model())?;
        self.write(HISTORY, history::csv(history).as_bytes())
    }

    /// Writes `run.json`: what was run, and how it went.
    ///
    /// # Errors
    /// Naming the file that could not be written.
    pub fn save_run(&self, run: &Value) -> Result<(), RunFolderError> {
        self.write(RUN, format!("{run:#}\n").as_bytes())
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
