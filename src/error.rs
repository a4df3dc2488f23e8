//! All that can go wrong, in one type, for callers that do not tell the kinds apart.

use thiserror::Error;

use crate::data::{DataError, IdxError};
use crate::engines::EngineError;
use crate::formats::weights::ModelError;
use crate::network::initialisation::TransferError;
use crate::network::{NetworkError, TextError};
use crate::optimisers::OptimiserError;
use crate::pictures::PictureError;
use crate::pictures::import::ImportError;
use crate::training::{CheckpointError, RunFolderError, TrainingError};

/// Any error of this crate. Each kind says in its message what is wrong, where, and what to do.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each kind is documented where it is made")]
pub enum Error {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Idx(#[from] IdxError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Optimiser(#[from] OptimiserError),
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    RunFolder(#[from] RunFolderError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Training(#[from] TrainingError),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
