//! Lines of the cache, asked for before they are needed, or given back.
//!
//! What another core has takes its time to come, but many lines come at once. Either is a hint: no number
//! is changed.

/// Bytes of a line.
const LINE: usize = 64;

/// Takes numbers that are going to be written away from the other cores, which have read them.
/// A store does so too, but stores are done in their order, one line after the other.
#[inline(always)]
pub fn will_write(numbers: &[f32]) {
    lines(numbers).for_each(take_line);
}

/// Gives numbers that were read back to memory, since another core is going to write them.
///
/// Only AMD's processors need it: theirs do not take a line for [`will_write`] that they have themselves and
/// another core, too. Stores take those, one after the other: 680 lines in 5 us where both cores have a
/// cache in common, and in 45 us where they have none; given back, in 2 us.
pub fn give_back(numbers: &[f32]) {
    if gives_back() {
        lines(numbers).for_each(give_line_back);
    }
}

/// A number in each of their lines.
#[inline(always)]
fn lines(numbers: &[f32]) -> impl Iterator<Item = *const f32> {
    (numbers.chunks(LINE / size_of::<f32>())).map(|line| line.as_ptr())
}

/// Whether this is a processor of AMD's with the instruction.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn gives_back() -> bool {
    use std::arch::x86_64::__cpuid_count;
    use std::sync::LazyLock;

    static GIVES_BACK: LazyLock<bool> = LazyLock::new(|| {
        // AMD64 Architecture Programmer's Manual, volume 3, appendix E: the highest leaf and the vendor,
        // then the leaf of structured features, of which bit 23 of EBX is CLFLUSHOPT.
        #[allow(unused_unsafe, reason = "Rust 1.89 asks for it")]
        // SAFETY: in 64-bit mode every processor has the instruction, and it only tells.
        let leaf = |number| unsafe { __cpuid_count(number, 0) };
        let first = leaf(0);
        let vendor = [first.ebx, first.edx, first.ecx].map(u32::to_le_bytes);
        let amd = vendor.as_flattened() == b"AuthenticAMD";
        amd && first.eax >= 7 && leaf(7).ebx >> 23 & 1 == 1
    });
    *GIVES_BACK
}

/// Not where this was not measured.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn gives_back() -> bool {
    false
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn give_line_back(at: *const f32) {
    // SAFETY: the processor has the instruction, which takes any address that can be read, as the number's
    // there can, and writes back what the line holds.
    unsafe { std::arch::asm!("clflushopt [{}]", in(reg) at, options(nostack, preserves_flags)) }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
fn give_line_back(_at: *const f32) {}

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
        give_back(&numbers);
        give_back(&numbers[5..7]);
        give_back(&[]);
        assert!((0..1003).map(|n| n as f32).eq(numbers));
    }
}
