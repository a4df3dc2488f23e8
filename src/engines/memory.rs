//! How much memory a network takes, told from its shapes before any of it is asked for: a short
//! text can name a network that no machine holds.

use super::{EngineError, EngineKind, im2col, lanes};
use crate::network::Network;

/// What a network is to be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Images in a training step, 0 where nothing is trained.
    pub batch: usize,
    /// Images whose logits are asked for at once: a test set.
    pub images: usize,
}

/// The most bytes, unless the caller allows more: with the program and MNIST less than 1 GB.
pub const MAX_MEMORY: u64 = 800_000_000;

/// Vectors of the parameters' form that inference needs: the state, the caller's, and a file.
const INFERENCE_VECTORS: u64 = 12;

/// The same of training: state and checkpoint, the copies that go between them, and the files that
/// are written after an epoch.
const TRAINING_VECTORS: u64 = 32;

/// About how many bytes `kind` takes for `network` on so many threads, data and program not
/// counted: never much less than what it will take, and seldom more than twice that.
///
/// # Errors
/// As [`super::open`], where the environment asks for instructions that are not there.
pub fn memory(
    kind: EngineKind,
    network: &Network,
    threads: Option<usize>,
    load: Load,
) -> Result<u64, EngineError> {
    let threads = threads
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1) as u64;
    let training = load.batch > 0;
    let (workspaces, vectors) = match kind {
        // Activations and their gradients, and a gradient.
        EngineKind::Reference => (8 * network.activation_elements(), 1),
        // The GPU's memory is its own affair; it says so itself if there is not enough.
        EngineKind::Cuda(_) => (0, 0),
        EngineKind::Im2col => (
            threads.saturating_mul(im2col::workspace_bytes(network)),
            im2col::most_slices(load.batch),
        ),
        EngineKind::Auto | EngineKind::Cpu | EngineKind::Lanes => {
            let settings = lanes::Settings::from_environment()?;
            let each = lanes::workspace_bytes(network, settings, training);
            let one_image = lanes::one_image_bytes(network, settings);
            let bands = match training {
                true => lanes::bands_bytes(network, settings),
                false => 0,
            };
            let all = (threads.saturating_mul(each))
                .saturating_add(one_image)
                .saturating_add(bands);
            (all, lanes::vectors(load.batch, threads as usize, settings))
        }
    };
    let vectors = vectors as u64
        + match training {
            true => TRAINING_VECTORS,
            false => INFERENCE_VECTORS,
        };
    let logits = (load.images as u64).saturating_mul(network.output().elements() as u64);
    Ok((4 * network.parameter_count() as u64)
        .saturating_mul(vectors)
        .saturating_add(logits.saturating_mul(4))
        .saturating_add(workspaces))
}

/// Checks that this is at most `most` bytes.
///
/// # Errors
/// [`EngineError::Memory`], and as [`memory`].
pub fn check_memory(
    kind: EngineKind,
    network: &Network,
    threads: Option<usize>,
    load: Load,
    most: u64,
) -> Result<(), EngineError> {
    match memory(kind, network, threads, load)? {
        needed if needed > most => Err(EngineError::Memory { needed, most }),
        _ => Ok(()),
    }
}
