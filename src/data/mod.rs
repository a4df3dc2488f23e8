//! From bytes to batches: IDX files, images with labels, and the order of an epoch.
//!
//! [`idx`] reads the file format, [`dataset`] checks that four files make a training set,
//! [`mod@batches`] draws an epoch's order and cuts it, [`normalisation`] turns bytes into the
//! numbers that a network sees. MNIST is inside the program: `mnist()`. [`mod@emnist`] puts right what
//! EMNIST stores otherwise; [`class_names`] knows what the classes of some data sets are called.

pub mod batches;
pub mod class_names;
pub mod dataset;
pub mod emnist;
pub mod idx;
pub mod images;
#[cfg(feature = "mnist")]
mod mnist;
pub mod normalisation;

pub use batches::{Batch, batches, shuffled};
pub use dataset::{Data, DataError, DataFault, Dataset, SourceFile};
pub use emnist::Emnist;
pub use idx::{Elements, Idx, IdxError, IdxFault};
pub use images::Images;
#[cfg(feature = "mnist")]
pub use mnist::mnist;
pub use normalisation::Normalisation;
