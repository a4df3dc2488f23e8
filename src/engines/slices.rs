//! How an engine of the CPU cuts a batch into slices, each of which is the work of one thread and has a
//! gradient of its own: by its size alone, never by the number of threads, so that the same sums are
//! made on any number of them.

/// The most slices of a batch.
pub(super) const MOST: usize = 32;

/// How many examples are in each slice of a batch, the last perhaps fewer: whole groups of `group`
/// images, which go through a layer together, and as few as may be.
pub(super) fn length(batch: usize, group: usize) -> usize {
    batch.div_ceil(MOST).max(1).next_multiple_of(group)
}

/// How many slices a batch of so many examples has.
pub(super) fn count(batch: usize, group: usize) -> usize {
    batch.div_ceil(length(batch, group))
}

/// No batch of up to `largest` examples has more slices. A shorter one may have more than the largest:
/// 480 examples are 30 slices of 16, and 640 are 20 of 32.
pub(super) fn at_most(largest: usize, group: usize) -> usize {
    largest.div_ceil(group).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_have_every_example_and_are_never_more_than_was_said() {
        for group in [4, 8, 16] {
            for batch in 0..5000 {
                let (length, count) = (length(batch, group), count(batch, group));
                assert!(length.is_multiple_of(group));
                assert!(count * length >= batch, "{batch} by {group}");
                assert!(
                    batch == 0 || (count - 1) * length < batch,
                    "{batch} by {group}"
                );
                assert!(count <= at_most(batch, group), "{batch} by {group}");
                assert!(at_most(batch, group) <= at_most(batch + 1, group));
            }
        }
    }
}
