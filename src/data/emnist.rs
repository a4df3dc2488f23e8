//! EMNIST's two peculiarities (Cohen, Afshar, Tapson, van Schaik, *EMNIST: an extension of MNIST to
//! handwritten letters*, 2017): its images are stored transposed, and the labels of `letters` begin
//! at 1.

use super::images::Images;

/// What was done to data that are EMNIST's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emnist {
    /// Labels began at 1, and were all taken down by one.
    pub shifted: bool,
}

/// Whether files with this prefix are EMNIST's, as in `emnist-letters-train-images-idx3-ubyte`.
pub fn is_prefix(prefix: &str) -> bool {
    prefix.to_lowercase().starts_with("emnist")
}

/// The images with rows and columns exchanged: (N, C, H, W) as (N, C, W, H).
pub fn upright(images: &Images) -> Images {
    let [channels, height, width] = images.shape();
    let mut bytes = Vec::with_capacity(images.bytes().len());
    for plane in images.bytes().chunks_exact(height * width) {
        for column in 0..width {
            bytes.extend(plane.chunks_exact(width).map(|row| row[column]));
        }
    }
    Images::new([channels, width, height], bytes).expect("as many pixels as before")
}
