//! Lines of the cache, asked for before they are needed.
//!
//! What another core has takes its time to come, but many lines come at once. Asking is a hint: nothing
//! is read or written.

/// Bytes of a line.
const LINE: usize = 64;

/// Takes numbers that are going to be written away from the other cores, which have read them.
/// A store does so too, but stores are done in their order, one line after the other.
#[inline(always)]
pub fn will_write(numbers: &[f32]) {
    for line in numbers.chunks(LINE / size_of::<f32>()) {
        take_line(line.as_ptr());
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn take_line(at: *const f32) {
    // SAFETY: in 64-bit mode a processor has the instruction or does nothing instead (AMD64
    // Architecture Programmer's Manual, volume 3, PREFETCHW), and no address can make it fail.
    unsafe { std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags)) }
}

/// Not known how, where this was not measured.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
fn take_line(_at: *const f32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_changes_nothing() {
        let numbers: Vec<f32> = (0..1003).map(|n| n as f32).collect();
        will_write(&numbers);
        will_write(&numbers[5..7]);
        will_write(&[]);
        assert!((0..1003).map(|n| n as f32).eq(numbers));
    }
}
