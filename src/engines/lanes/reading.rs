//! From the bytes of a group's images to normalised vectors, one pixel of every image in each.

use crate::data::Normalisation;
use crate::hardware::lanes::{Lanes, MAX_WIDTH, kernel};

/// Bytes that one lane holds, each a pixel.
const WORD: usize = 4;

/// What one channel's bytes become: `x scale + shift`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    scale: f32,
    shift: f32,
}

/// Of every channel: `(x / 255 - mean) / deviation`, with one multiply-add.
pub(super) fn scales(normalisation: &Normalisation) -> Vec<Scale> {
    let figures = normalisation.mean().iter().zip(normalisation.deviation());
    let scale = |(&mean, &deviation): (&f32, &f32)| {
        let (mean, deviation) = (f64::from(mean), f64::from(deviation));
        Scale {
            scale: (1.0 / (255.0 * deviation)) as f32,
            shift: (-mean / deviation) as f32,
        }
    };
    figures.map(scale).collect()
}

kernel! {
    /// - `planes`: one channel of each image, (H W) bytes; at most as many as there are lanes
    /// - `x`: (H W) vectors, written; lanes without an image are 0
    pub fn read(
        planes: &[&[u8]],
        scale: Scale,
        x: &mut [T::Vector],
    ) = read_kernel;
}

#[inline(always)]
fn read_kernel<T: Lanes>(t: T, planes: &[&[u8]], scale: Scale, x: &mut [T::Vector]) {
    let Scale { scale, shift } = scale;
    let (scale, shift) = (t.splat(scale), t.splat(shift));
    let filled = t.mask(((1u32 << planes.len()) - 1) as u16);
    for (block, x) in x.chunks_mut(WORD * T::WIDTH).enumerate() {
        // words: (images, words), and when they are transposed (words, images)
        let mut words = [t.zero(); MAX_WIDTH];
        for (words, plane) in words[..T::WIDTH].iter_mut().zip(planes) {
            let bytes = &plane[block * WORD * T::WIDTH..][..x.len()];
            *words = if bytes.len() == WORD * T::WIDTH {
                t.words(bytes)
            } else {
                let mut some = [0; WORD * MAX_WIDTH];
                some[..bytes.len()].copy_from_slice(bytes);
                t.words(&some)
            };
        }
        t.transpose(&mut words[..T::WIDTH]);
        for (&words, x) in words.iter().zip(x.chunks_mut(WORD)) {
            for (k, x) in x.iter_mut().enumerate() {
                let normalised = t.fma(t.byte(words, k), scale, shift);
                *x = t.select(filled, normalised, t.zero());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::lanes::Portable;

    /// Every byte, in images whose pixels are no multiple of four, some lanes left without one.
    #[test]
    fn bytes_are_what_the_normalisation_says() {
        let normalisation = Normalisation::new(vec![0.1307], vec![0.3081]).unwrap();
        let images: Vec<Vec<u8>> = (0..5u8)
            .map(|n| {
                (0..307)
                    .map(|pixel| (pixel + usize::from(n) * 51) as u8)
                    .collect()
            })
            .collect();
        let planes: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let mut x = Portable.zeros(307);
        read(Portable, &planes, scales(&normalisation)[0], &mut x);
        for (lane, image) in images.iter().enumerate() {
            let mut expected = vec![0.0; 307];
            normalisation.apply::<f64>(image, &mut expected);
            for (x, expected) in Portable.numbers(&x).chunks_exact(8).zip(expected) {
                assert!(
                    (f64::from(x[lane]) - expected).abs() <= 4e-7,
                    "{} {expected}",
                    x[lane]
                );
                assert_eq!(x[5..], [0.0; 3]);
            }
        }
    }
}
