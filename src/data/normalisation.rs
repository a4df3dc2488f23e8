//! From bytes to the numbers that a network sees: `(x / 255 - mean) / deviation`, a channel.

use super::images::Images;
use crate::tensor::Element;

/// The mean and standard deviation of each channel, of pixels scaled to `[0, 1]`.
///
/// torchvision's `ToTensor` and `Normalize`, in their order of operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Normalisation {
    /// One mean and one deviation a channel, or `None` unless there are as many of both, at
    /// least one, all finite, and every deviation above 0.
    pub fn new(mean: Vec<f32>, deviation: Vec<f32>) -> Option<Self> {
        let right = !mean.is_empty()
            && mean.len() == deviation.len()
            && mean.iter().all(|mean| mean.is_finite())
            && deviation.iter().all(|d| d.is_finite() && *d > 0.0);
        right.then_some(Self { mean, deviation })
    }

    /// The figures everybody uses for MNIST: 0.1307 and 0.3081.
    pub fn mnist() -> Self {
        Self {
            mean: vec![0.1307],
            deviation: vec![0.3081],
        }
    }

    /// Pixels scaled to `[0, 1]` and left at that.
    pub fn none(channels: usize) -> Self {
        Self {
            mean: vec![0.0; channels],
            deviation: vec![1.0; channels],
        }
    }

    /// What is taken to be meant where nothing says it: MNIST's figures for gray images, and for
    /// others none.
    pub fn assumed(channels: usize) -> Self {
        match channels {
            1 => Self::mnist(),
            _ => Self::none(channels),
        }
    }

    /// The figures of `images` themselves, rounded to four decimals. A channel that never
    /// changes is only centred.
    pub fn of(images: &Images) -> Self {
        let [channels, height, width] = images.shape();
        let area = height * width;
        // How often each byte occurs in each channel: exact sums, in one pass.
        let mut counts = vec![[0_u64; 256]; channels];
        for plane_group in images.bytes().chunks_exact(channels * area) {
            for (counts, plane) in counts.iter_mut().zip(plane_group.chunks_exact(area)) {
                for &byte in plane {
                    counts[usize::from(byte)] += 1;
                }
            }
        }
        let round = |x: f64| ((x * 1e4).round() / 1e4) as f32;
        let (mean, deviation) = counts
            .iter()
            .map(|counts| {
                // At least 1, so that the figures of no image are 0 and not NaN.
                let total = counts.iter().sum::<u64>().max(1);
                let average = |of: &dyn Fn(f64) -> f64| {
                    let sum: f64 = (counts.iter().enumerate())
                        .map(|(byte, &count)| count as f64 * of(byte as f64 / 255.0))
                        .sum();
                    sum / total as f64
                };
                let mean = average(&|x| x);
                let deviation = round(average(&|x| (x - mean) * (x - mean)).sqrt());
                (round(mean), if deviation > 0.0 { deviation } else { 1.0 })
            })
            .unzip();
        Self { mean, deviation }
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// The mean of each channel.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The standard deviation of each channel.
    pub fn deviation(&self) -> &[f32] {
        &self.deviation
    }

    /// Normalises one image.
    ///
    /// - `image`, `output`: `(C, H, W)`
    ///
    /// # Panics
    /// If the two differ in length, or do not divide into this many channels.
    pub fn apply<T: Element>(&self, image: &[u8], output: &mut [T]) {
        assert_eq!(image.len(), output.len(), "an image's pixels");
        assert_eq!(image.len() % self.channels(), 0, "whole channels");
        let area = image.len() / self.channels();
        let planes = image.chunks_exact(area).zip(output.chunks_exact_mut(area));
        for ((image, output), (mean, deviation)) in
            planes.zip(self.mean.iter().zip(&self.deviation))
        {
            let mean = T::from_f64(f64::from(*mean));
            let deviation = T::from_f64(f64::from(*deviation));
            let white = T::from_f64(255.0);
            for (y, &x) in output.iter_mut().zip(image) {
                *y = (T::from_f64(f64::from(x)) / white - mean) / deviation;
            }
        }
    }
}
