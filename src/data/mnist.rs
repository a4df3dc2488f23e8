//! MNIST, compiled in. The files and their licence: `data/mnist/README.md`.

use std::io::Read;

use super::dataset::{Data, DataError, Part};
use super::normalisation::Normalisation;

const TRAIN_IMAGES: &[u8] = include_bytes!("../../data/mnist/train-images-idx3-ubyte.gz");
const TRAIN_LABELS: &[u8] = include_bytes!("../../data/mnist/train-labels-idx1-ubyte.gz");
const TEST_IMAGES: &[u8] = include_bytes!("../../data/mnist/t10k-images-idx3-ubyte.gz");
const TEST_LABELS: &[u8] = include_bytes!("../../data/mnist/t10k-labels-idx1-ubyte.gz");

/// MNIST from inside the program: 60,000 training and 10,000 test images of 28 x 28, 10 classes
/// (Yann LeCun, Corinna Cortes, Christopher Burges; CC BY-SA 3.0).
///
/// Normalised with the mean 0.1307 and the deviation 0.3081 that the tutorials use.
///
/// # Errors
/// None in an intact program.
pub fn mnist() -> Result<Data, DataError> {
    let data = Data::read("MNIST", false, |part| {
        let (name, bytes) = match part {
            Part::TrainImages => ("train-images-idx3-ubyte", TRAIN_IMAGES),
            Part::TrainLabels => ("train-labels-idx1-ubyte", TRAIN_LABELS),
            Part::TestImages => ("t10k-images-idx3-ubyte", TEST_IMAGES),
            Part::TestLabels => ("t10k-labels-idx1-ubyte", TEST_LABELS),
        };
        Ok((
            format!("MNIST (built in) {name}"),
            Box::new(bytes) as Box<dyn Read>,
        ))
    })?;
    Ok(data.normalised_by(Normalisation::mnist()))
}
