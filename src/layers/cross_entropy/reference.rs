//! Softmax and cross-entropy of one example.

use crate::tensor::Element;

/// The largest of `z`, without which exponentials would overflow.
fn maximum<T: Element>(z: &[T]) -> T {
    z.iter().copied().fold(T::neg_infinity(), T::max)
}

/// The probabilities of the classes.
///
/// - `z`: (K)
/// - `p`: (K), written
pub fn softmax<T: Element>(z: &[T], p: &mut [T]) {
    assert_eq!(z.len(), p.len(), "z and p: (K)");
    let maximum = maximum(z);
    for (p, &z) in p.iter_mut().zip(z) {
        *p = (z - maximum).exp();
    }
    let sum = p.iter().copied().sum();
    for p in p {
        *p /= sum;
    }
}

/// The loss of one example.
///
/// - `z`: (K)
/// - `label`: below K
/// - `smoothing`: the share of the target that goes to all classes alike, from 0 to 1
pub fn forward<T: Element>(z: &[T], label: usize, smoothing: f64) -> T {
    let maximum = maximum(z);
    let sum: T = z.iter().map(|&z| (z - maximum).exp()).sum();
    // The two large numbers first: with logits around 1e4 the other order loses the logarithm.
    let loss = |z: T| sum.ln() + (maximum - z);
    if smoothing == 0.0 {
        return loss(z[label]);
    }
    let mean = z.iter().map(|&z| loss(z)).sum::<T>() / T::from_f64(z.len() as f64);
    T::from_f64(1.0 - smoothing) * loss(z[label]) + T::from_f64(smoothing) * mean
}

/// - `z`: (K)
/// - `label`: below K
/// - `smoothing`: as in the forward pass
/// - `examples`: N, over which the loss is the mean
/// - `d_z`: (K), written
pub fn backward<T: Element>(z: &[T], label: usize, smoothing: f64, examples: usize, d_z: &mut [T]) {
    softmax(z, d_z);
    let (each, scale) = (
        T::from_f64(smoothing / z.len() as f64),
        T::one() / T::from_f64(examples as f64),
    );
    d_z[label] -= T::from_f64(1.0 - smoothing);
    for d_z in d_z {
        *d_z = (*d_z - each) * scale;
    }
}

/// The likeliest class: the first of the largest logits.
pub fn argmax<T: Element>(z: &[T]) -> usize {
    let mut best = 0;
    for (class, &logit) in z.iter().enumerate() {
        if logit > z[best] {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_neither_overflow_nor_lose_the_loss() {
        let z = [1e4_f32, 1e4 - 1.0, -1e4];
        let mut d_z = [0.0; 3];
        backward(&z, 1, 0.0, 1, &mut d_z);
        // The other logit is so far away that softmax is that of (0, -1).
        let p = 1.0 / (1.0 + (-1.0_f32).exp());
        assert!((forward(&z, 1, 0.0) - (1.0 - p.ln())).abs() <= 1e-6);
        assert!((d_z[0] - p).abs() <= 1e-6 && (d_z[1] + p).abs() <= 1e-6);
        assert_eq!(d_z[2], 0.0);
    }

    #[test]
    fn nan_and_infinity_are_not_hidden() {
        assert!(forward(&[f32::NAN, 0.0], 1, 0.0).is_nan());
        assert!(!forward(&[f32::INFINITY, 0.0], 0, 0.0).is_finite());
    }

    #[test]
    fn smoothing_shares_the_target_among_all_classes() {
        // Equal logits: every class has the loss log 4, so smoothing changes nothing.
        assert!((forward(&[2.0_f64; 4], 0, 0.1) - 4.0_f64.ln()).abs() <= 1e-12);
        // All of the target is shared: no class is better than another.
        let z = [1.0_f64, -2.0, 0.5];
        assert!((forward(&z, 0, 1.0) - forward(&z, 2, 1.0)).abs() <= 1e-12);
        // One half is: the mean of the label's loss and of the mean over the classes.
        let losses = [0, 1, 2].map(|label| forward(&z, label, 0.0));
        let expected = 0.5 * losses[1] + 0.5 * losses.iter().sum::<f64>() / 3.0;
        assert!((forward(&z, 1, 0.5) - expected).abs() <= 1e-12);
        // A gradient of the logits adds up to nothing, smoothed or not.
        let mut d_z = [0.0; 3];
        backward(&z, 1, 0.3, 1, &mut d_z);
        assert!(d_z.iter().sum::<f64>().abs() <= 1e-12);
    }

    #[test]
    fn a_tie_is_the_first_class() {
        assert_eq!(argmax(&[1.0_f32, 3.0, 3.0]), 1);
    }
}
