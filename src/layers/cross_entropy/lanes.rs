//! Softmax and cross-entropy with several images in the lanes: an exponential is that of all images at
//! once, and the loss and its gradient share it.

use crate::hardware::lanes::{Lanes, MAX_WIDTH, kernel};

/// What the logits of a group say, an image in each place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answers {
    /// The losses.
    pub losses: [f32; MAX_WIDTH],
    /// The likeliest classes: the first of the largest logits.
    pub classes: [u32; MAX_WIDTH],
}

kernel! {
    /// Losses and classes of a group, and the gradient by its logits.
    ///
    /// - `z`: (K) vectors
    /// - `labels`: (n), each below K; n at most the lanes
    /// - `smoothing`: the share of the target that goes to all classes alike, from 0 to 1
    /// - `examples`: N, over which the loss is the mean
    /// - `d_z`: (K) vectors, written; lanes without a label are 0
    /// - `answers`: the first n of each are written
    pub fn forward_backward(
        z: &[T::Vector],
        labels: &[usize],
        smoothing: f64,
        examples: usize,
        d_z: &mut [T::Vector],
        answers: &mut Answers,
    ) = forward_backward_kernel;
}

#[inline(always)]
fn forward_backward_kernel<T: Lanes>(
    t: T,
    z: &[T::Vector],
    labels: &[usize],
    smoothing: f64,
    examples: usize,
    d_z: &mut [T::Vector],
    answers: &mut Answers,
) {
    assert_eq!(z.len(), d_z.len(), "z and d_z: (K)");
    let (count, label_share) = (z.len() as f32, (1.0 - smoothing) as f32);
    let mut maximum = t.splat(f32::NEG_INFINITY);
    for &z in z {
        maximum = t.max(z, maximum);
    }
    let (mut sum, mut differences) = (t.zero(), t.zero());
    for (d_z, &z) in d_z.iter_mut().zip(z) {
        let difference = t.sub(z, maximum);
        *d_z = exp(t, difference);
        sum = t.add(sum, *d_z);
        differences = t.add(differences, difference);
    }

    let logits = t.numbers(z); // logits: (K, n)
    answers.classes = classes(logits, T::WIDTH);
    let lanes = [maximum, sum, differences];
    let (maxima, rest) = t.numbers(&lanes).split_at(T::WIDTH);
    let (sums, differences) = rest.split_at(T::WIDTH);
    for (lane, &label) in labels.iter().enumerate() {
        // The two large numbers first, as in `reference`.
        let label = maxima[lane] - logits[label * T::WIDTH + lane];
        let mean = -differences[lane] / count;
        let target = match smoothing {
            0.0 => label,
            _ => label_share * label + smoothing as f32 * mean,
        };
        answers.losses[lane] = sums[lane].ln() + target;
    }

    let mut inverse = [sum];
    for number in t.numbers_mut(&mut inverse) {
        *number = 1.0 / *number;
    }
    for d_z in &mut *d_z {
        *d_z = t.mul(*d_z, inverse[0]);
    }
    let probabilities = t.numbers_mut(d_z); // probabilities: (K, n)
    for (lane, &label) in labels.iter().enumerate() {
        probabilities[label * T::WIDTH + lane] -= label_share;
    }
    let each = t.splat(smoothing as f32 / count);
    let scale = t.splat(1.0 / examples as f32);
    let filled = t.mask(((1u32 << labels.len()) - 1) as u16);
    for d_z in d_z {
        *d_z = t.select(filled, t.mul(t.sub(*d_z, each), scale), t.zero());
    }
}

/// The first of the largest logits of every image.
///
/// - `logits`: (K, `width`)
#[inline(always)]
fn classes(logits: &[f32], width: usize) -> [u32; MAX_WIDTH] {
    let (mut classes, mut best) = ([0; MAX_WIDTH], [0.0; MAX_WIDTH]);
    best[..width].copy_from_slice(&logits[..width]);
    for (class, logits) in (0..).zip(logits.chunks_exact(width)) {
        for ((best, winner), &logit) in best.iter_mut().zip(&mut classes).zip(logits) {
            if logit > *best {
                (*best, *winner) = (logit, class);
            }
        }
    }
    classes
}

/// `e^x` for x of at most 0, which is `2^n e^r` with the whole number n next to `x / ln 2`. The rest r is
/// at most half of `ln 2`, and there eight terms of the series are exact to the last bit or two. NaN
/// stays NaN; below -87, where `f32` ends, it is `e^-87`.
#[inline(always)]
fn exp<T: Lanes>(t: T, x: T::Vector) -> T::Vector {
    /// 1.5 times 2^23: what is added to it is rounded to a whole number, in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const TERMS: [f32; 7] = [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        1.0 / 2.0,
        1.0,
        1.0,
    ];
    let x = t.max(x, t.splat(-87.0));
    let n = t.fma(x, t.splat(std::f32::consts::LOG2_E), t.splat(ROUND));
    let mut power = [n];
    for number in t.numbers_mut(&mut power) {
        // The exponent of 2^n, whose bias is 127.
        *number = f32::from_bits((number.to_bits() << 23).wrapping_add(127 << 23));
    }
    let r = t.fma(
        t.sub(n, t.splat(ROUND)),
        t.splat(-std::f32::consts::LN_2),
        x,
    );
    let mut series = t.splat(1.0 / 5040.0);
    for term in TERMS {
        series = t.fma(series, r, t.splat(term));
    }
    t.mul(series, power[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::lanes::Portable;
    #[cfg(target_arch = "x86_64")]
    use crate::hardware::lanes::{Avx2, Avx512};
    use crate::layers::cross_entropy::reference;
    use crate::random::{Purpose, Stream};

    /// Calls a function with every path that this processor has.
    macro_rules! on_every_path {
        ($check:ident) => {
            $check(Portable);
            #[cfg(target_arch = "x86_64")]
            {
                Avx2::detect().map($check);
                Avx512::detect().map($check);
            }
        };
    }

    #[test]
    fn exponentials_are_exact_to_the_last_bits() {
        fn check<T: Lanes>(t: T) {
            // Miri takes many times as long.
            let step = if cfg!(miri) { 997 } else { 1 };
            for thousandths in (0..90_000).step_by(step) {
                let x = thousandths as f32 / -1000.0;
                let y = t.numbers(&[exp(t, t.splat(x))])[T::WIDTH - 1];
                let expected = f64::from(x.max(-87.0)).exp();
                let error = (f64::from(y) - expected).abs() / expected;
                // Where a product is rounded before it is added to, n ln 2 has the error of its size.
                let tolerance = 3e-7 + 6e-8 * f64::from(x.abs());
                assert!(error <= tolerance, "{x}: {error}");
            }
            for (x, expected) in [(0.0, 1.0), (f32::NEG_INFINITY, (-87_f32).exp())] {
                let y = t.numbers(&[exp(t, t.splat(x))])[0];
                assert!((y - expected).abs() <= 1e-5 * expected, "{x}: {y}");
            }
            assert!(t.numbers(&[exp(t, t.splat(f32::NAN))])[0].is_nan());
        }
        on_every_path!(check);
    }

    /// Losses, gradients and classes of one image a lane but the last, for logits of a size.
    fn against_reference<T: Lanes>(t: T, size: f64, smoothing: f64) {
        const CLASSES: usize = 7;
        let n = T::WIDTH - 1;
        let stream = Stream::new(1, Purpose::Check, 0);
        let mut z = t.zeros(CLASSES);
        for (index, number) in (0..).zip(t.numbers_mut(&mut z)) {
            // Whole numbers, so that some are the same.
            *number = (size * (stream.uniform(index) - 0.5)).round() as f32;
        }
        let labels: Vec<_> = (0..n).map(|lane| lane % CLASSES).collect();
        let (mut d_z, mut answers) = (vec![t.splat(9.0); CLASSES], Answers::default());
        forward_backward(t, &z, &labels, smoothing, 32, &mut d_z, &mut answers);
        let (z, d_z) = (t.numbers(&z), t.numbers(&d_z));
        for (lane, &label) in labels.iter().enumerate() {
            let of_lane = |vectors: &[f32]| -> Vec<f64> {
                let numbers = vectors.iter().skip(lane).step_by(T::WIDTH);
                numbers.map(|&number| f64::from(number)).collect()
            };
            let (z, d_z) = (of_lane(z), of_lane(d_z));
            let loss = reference::forward(&z, label, smoothing);
            let error = (f64::from(answers.losses[lane]) - loss).abs();
            assert!(error <= 1e-6 * loss.max(1.0), "loss {loss}, {error}");
            let mut expected = [0.0; CLASSES];
            reference::backward(&z, label, smoothing, 32, &mut expected);
            for (d_z, expected) in d_z.iter().zip(expected) {
                assert!((d_z - expected).abs() <= 3e-7 / 32.0, "{d_z} {expected}");
            }
            assert_eq!(answers.classes[lane] as usize, reference::argmax(&z));
        }
        let last = d_z.iter().skip(n).step_by(T::WIDTH);
        assert!(last.eq(&[0.0; CLASSES]), "a lane without a label");
    }

    #[test]
    fn every_lane_is_what_the_reference_says() {
        fn check<T: Lanes>(t: T) {
            for size in [4.0, 40.0, 2e4] {
                for smoothing in [0.0, 0.1, 1.0] {
                    against_reference(t, size, smoothing);
                }
            }
        }
        on_every_path!(check);
    }

    #[test]
    fn nan_and_infinity_are_not_hidden_and_stay_in_their_lane() {
        fn check<T: Lanes>(t: T) {
            let mut z = t.zeros(3);
            t.numbers_mut(&mut z)[0] = f32::NAN;
            t.numbers_mut(&mut z)[T::WIDTH + 1] = f32::INFINITY;
            let (mut d_z, mut answers) = (t.zeros(3), Answers::default());
            forward_backward(t, &z, &[1; 4], 0.0, 4, &mut d_z, &mut answers);
            assert!(answers.losses[..2].iter().all(|loss| !loss.is_finite()));
            assert!(answers.losses[2..4].iter().all(|loss| loss.is_finite()));
            for d_z in t.numbers(&d_z).chunks_exact(T::WIDTH) {
                assert!(d_z[..2].iter().all(|d_z| d_z.is_nan()));
                assert!(d_z[2..].iter().all(|d_z| d_z.is_finite()));
            }
        }
        on_every_path!(check);
    }
}
