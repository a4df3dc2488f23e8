//! Dropout with several images in the lanes. Drawing the mask is nearly all of the work, and draws are
//! made as everything else here: one of every image, side by side.

use super::{Draws, Dropout};
use crate::hardware::lanes::{Lanes, MAX_WIDTH, kernel};

kernel! {
    /// `to = m from / (1 - p)` with the mask of a training step: `y` of `x`, forward, and `d_x` of
    /// `d_y`, backward.
    ///
    /// - `layer`: which one of the network
    /// - `draws`: those of the first lane's example, which the other lanes' follow
    /// - `from`: vectors of any shape
    /// - `to`: the same shape, written; what is dropped is 0 even where `from` is not finite
    pub fn mask(
        dropout: &Dropout,
        layer: usize,
        draws: Draws,
        from: &[T::Vector],
        to: &mut [T::Vector],
    ) = mask_kernel;
}

#[inline(always)]
fn mask_kernel<T: Lanes>(
    t: T,
    dropout: &Dropout,
    layer: usize,
    draws: Draws,
    from: &[T::Vector],
    to: &mut [T::Vector],
) {
    assert_eq!(from.len(), to.len(), "x and y are of one shape");
    let (scale, threshold) = (t.splat(dropout.scale() as f32), dropout.threshold());
    let (stream, indices) = draws.of_layer(layer, from.len());
    let each = indices.end - indices.start;
    // Where there are fewer lanes, two draws of each are made at once.
    let draws = MAX_WIDTH / T::WIDTH;
    let parts = from.chunks(4 * draws).zip(to.chunks_mut(4 * draws));
    for ((from, to), index) in parts.zip(indices.step_by(draws)) {
        // words: (4, draws, n)
        let words = stream.words_each::<MAX_WIDTH>(std::array::from_fn(|k| {
            let (draw, lane) = ((k / T::WIDTH) as u64, (k % T::WIDTH) as u64);
            index + draw + lane * each
        }));
        for (k, (&from, to)) in from.iter().zip(to).enumerate() {
            let words = &words[k % 4][k / 4 * T::WIDTH..];
            let dropped = t.below(words, threshold);
            *to = t.select(dropped, t.zero(), t.mul(scale, from));
        }
    }
}
