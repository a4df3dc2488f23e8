//! MNIST, compiled in; `build.rs` has undone gzip. The files and their licence: `data/mnist/README.md`.

use super::class_names::MNIST_MD5;
use super::dataset::{Data, DataError, Part, Source};
use super::idx::Idx;
use super::normalisation::Normalisation;

static TRAIN_IMAGES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/train-images-idx3-ubyte"));
static TRAIN_LABELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/train-labels-idx1-ubyte"));
static TEST_IMAGES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/t10k-images-idx3-ubyte"));
static TEST_LABELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/t10k-labels-idx1-ubyte"));

/// MNIST from inside the program: 60,000 training and 10,000 test images of 28 x 28, 10 classes
/// (Yann LeCun, Corinna Cortes, Christopher Burges; CC BY-SA 3.0).
///
/// Normalised with the mean 0.1307 and the deviation 0.3081 that the tutorials use.
///
/// # Errors
/// None in an intact program.
pub fn mnist() -> Result<Data, DataError> {
    let data = Data::read("MNIST", false, |part| {
        // Their MD5s, from data/mnist/README.md: to compute them would take longer than anything else before training.
        let (name, bytes, md5) = match part {
            Part::TrainImages => ("train-images-idx3-ubyte", TRAIN_IMAGES, MNIST_MD5),
            Part::TrainLabels => (
                "train-labels-idx1-ubyte",
                TRAIN_LABELS,
                "a25bea736e30d166cdddb491f175f624",
            ),
            Part::TestImages => (
                "t10k-images-idx3-ubyte",
                TEST_IMAGES,
                "2646ac647ad5339dbf082846283269ea",
            ),
            Part::TestLabels => (
                "t10k-labels-idx1-ubyte",
                TEST_LABELS,
                "27ae3e4e09519cfbb04c329615203637",
            ),
        };
        let name = format!("MNIST (built in) {name}");
        Ok(Source {
            idx: Idx::read_static(&name, bytes)?,
            name,
            md5: Some(md5),
        })
    })?;
    Ok(data.normalised_by(Normalisation::mnist()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest;

    #[test]
    fn the_sums_are_those_of_the_files_inside() {
        let data = mnist().unwrap();
        let files = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS];
        for (file, contents) in data.files.iter().zip(files) {
            let md5 = digest::md5(|to| to.write_all(contents)).unwrap();
            assert_eq!(md5, file.md5, "{}", file.name);
        }
    }
}
