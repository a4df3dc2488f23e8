//! The order of an epoch, and its batches: which examples, never copies of them.

use super::dataset::Dataset;
use crate::random::{Purpose, Stream};

/// The indices `0..count` in the order of one epoch: Fisher-Yates, with draws that depend on the
/// seed and the epoch alone.
///
/// # Panics
/// If `count` does not fit in 32 bits, which no [`Dataset`] exceeds.
pub fn shuffled(count: usize, seed: u64, epoch: u32) -> Vec<u32> {
    let count = u32::try_from(count).expect("a dataset has fewer than 2^32 examples");
    let draws = Stream::new(seed, Purpose::Order, epoch);
    let mut order: Vec<u32> = (0..count).collect();
    for last in (1..order.len()).rev() {
        let chosen = draws.below(last as u64, last as u64 + 1) as usize;
        order.swap(last, chosen);
    }
    order
}

/// Some examples of a dataset, by index. An engine gathers and normalises them itself.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    dataset: &'a Dataset,
    indices: &'a [u32],
}

impl<'a> Batch<'a> {
    /// The examples `indices` of `dataset`.
    ///
    /// # Panics
    /// If an index is none of the dataset's.
    pub fn new(dataset: &'a Dataset, indices: &'a [u32]) -> Self {
        assert!(
            indices.iter().all(|&i| (i as usize) < dataset.len()),
            "an index beyond the dataset's {} examples",
            dataset.len()
        );
        Self { dataset, indices }
    }

    /// What the examples are taken from.
    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// The number of examples, N.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The `n`-th image, `(C, H, W)`.
    pub fn image(&self, n: usize) -> &'a [u8] {
        self.dataset.images().image(self.indices[n] as usize)
    }

    /// The `n`-th label.
    pub fn label(&self, n: usize) -> usize {
        usize::from(self.dataset.labels()[self.indices[n] as usize])
    }
}

/// Cuts an epoch's order into batches of `size`; the last may be shorter.
///
/// # Panics
/// If `size` is 0, or an index is none of the dataset's.
pub fn batches<'a>(
    dataset: &'a Dataset,
    order: &'a [u32],
    size: usize,
) -> impl Iterator<Item = Batch<'a>> {
    order
        .chunks(size)
        .map(move |indices| Batch::new(dataset, indices))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_holds_every_index_once() {
        for count in [0, 1, 2, 1000] {
            let mut order = shuffled(count, 7, 1);
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..count as u32));
        }
    }

    #[test]
    fn seed_and_epoch_change_the_order() {
        let order = shuffled(100, 7, 1);
        assert_eq!(order, shuffled(100, 7, 1));
        assert_ne!(order, shuffled(100, 8, 1));
        assert_ne!(order, shuffled(100, 7, 2));
    }

    #[test]
    fn every_place_is_as_likely() {
        // Where index 0 of 4 lands over 4,000 epochs: 1,000 each, standard deviation 27.
        let mut landed = [0_u32; 4];
        for epoch in 0..4_000 {
            let order = shuffled(4, 0, epoch);
            landed[order.iter().position(|&i| i == 0).unwrap()] += 1;
        }
        assert!(
            landed.iter().all(|count| (870..1130).contains(count)),
            "{landed:?}"
        );
    }
}
