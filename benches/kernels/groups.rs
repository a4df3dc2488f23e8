//! Groups of images in the lanes, by the instructions that engine `lanes` takes.

use longhand::engines::lanes::Settings;
#[cfg(target_arch = "x86_64")]
use longhand::hardware::lanes::{Avx2, Avx512};
use longhand::hardware::lanes::{Lanes, Path, Portable};

/// What is done with vectors, whatever they are made of.
pub trait OnLanes {
    type Output;

    fn call<T: Lanes>(self, t: T) -> Self::Output;
}

/// The vectors' path: the fastest, or what `LONGHAND_LANES` asks for.
pub fn path() -> Path {
    let settings = Settings::from_environment();
    settings.expect("LONGHAND_LANES names a path").path
}

/// Calls `visitor` with the proof of [`path`].
pub fn on_lanes<V: OnLanes>(visitor: V) -> V::Output {
    const FOUND: &str = "the path was found to be available";
    match path() {
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => visitor.call(Avx512::detect().expect(FOUND)),
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => visitor.call(Avx2::detect().expect(FOUND)),
        #[cfg(not(target_arch = "x86_64"))]
        Path::Avx512 | Path::Avx2 => unreachable!("{FOUND}"),
        Path::Portable => visitor.call(Portable),
    }
}

/// A number of an image in each lane, the image `first` in lane 0; they take turns.
pub fn group<T: Lanes>(t: T, images: &[Vec<f32>], first: usize) -> Vec<T::Vector> {
    let mut vectors = t.zeros(images[0].len());
    let numbers = t.numbers_mut(&mut vectors).chunks_exact_mut(T::WIDTH);
    for (index, lanes) in numbers.enumerate() {
        for (lane, number) in lanes.iter_mut().enumerate() {
            *number = images[(first + lane) % images.len()][index];
        }
    }
    vectors
}

/// The numbers in lane 0.
pub fn first_image<T: Lanes>(t: T, vectors: &[T::Vector]) -> Vec<f32> {
    let lanes = t.numbers(vectors).chunks_exact(T::WIDTH);
    lanes.map(|lanes| lanes[0]).collect()
}
