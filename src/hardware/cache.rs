//! Lines of the cache, asked for before they are needed, or given back.
//!
//! What another core has takes its time to come, but many lines come at once. These are hints: no number is
//! changed.

use std::time::{Duration, Instant};

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
/// Only AMD's processors may need it: theirs do not take a line for [`will_write`] that they have themselves
/// and another core, too. Stores take those, one after the other: 680 lines in 5 us where both cores have a
/// cache in common, and in 45 us where they have none; given back, in 2 us. But to give back takes time,
/// too: whether it is worth it a [`Trial`] finds out.
pub fn give_back(numbers: &[f32]) {
    if gives_back() {
        lines(numbers).for_each(give_line_back);
    }
}

/// Finds out, again and again, whether steps are faster if lines are given back. It depends on the processor
/// and on which of its cores the threads are, which on a machine that is shared changes as they run.
#[derive(Debug, Default)]
pub struct Trial {
    /// Since the trial began.
    steps: usize,
    began: Option<Instant>,
    /// The shortest block without giving back, and with it.
    shortest: [Option<Duration>; 2],
    gives_back: bool,
}

impl Trial {
    /// Steps that are timed together.
    const BLOCK: usize = 8;

    /// Blocks that are timed, without and with in turn. The shortest counts, for others were disturbed.
    const BLOCKS: usize = 16;

    /// A gain of less than one part in so many is none: blocks differ by that by chance.
    const MARGIN: u32 = 32;

    /// Steps from one trial to the next.
    const PERIOD: usize = 4096;

    /// Whether lines are given back in the step that begins `now`.
    pub fn step(&mut self, now: Instant) -> bool {
        let block = self.steps / Self::BLOCK;
        if self.steps.is_multiple_of(Self::BLOCK) && block <= Self::BLOCKS {
            if block == 0 {
                *self = Self::default();
            } else if let Some(began) = self.began {
                let shortest = &mut self.shortest[(block - 1) % 2];
                let time = now.duration_since(began);
                *shortest = Some(shortest.map_or(time, |shortest| shortest.min(time)));
            }
            self.began = Some(now);
            self.gives_back = match block {
                // Short epochs may have cut all blocks of one way: no time is not a short one.
                Self::BLOCKS => match self.shortest {
                    [Some(without), Some(with)] => with < without - without / Self::MARGIN,
                    _ => false,
                },
                _ => block % 2 == 1,
            };
        }
        self.steps = (self.steps + 1) % Self::PERIOD;
        self.gives_back
    }

    /// The time from here to the next step is nobody's: what is between is no step.
    pub fn pause(&mut self) {
        self.began = None;
    }

    /// What the last step was told.
    pub fn gives_back(&self) -> bool {
        self.gives_back
    }
}

/// Asks for what is going to be read, part after part, as many as go into the nearest cache: they come from
/// memory while other work is done.
#[inline(always)]
pub fn will_read<'b>(parts: impl Iterator<Item = &'b [u8]>) {
    const BYTES: usize = 16 * 1024;
    let mut bytes = 0;
    for part in parts {
        bytes += part.len();
        if bytes > BYTES {
            break;
        }
        lines(part).for_each(read_line);
    }
}

/// The first of the values in each of their lines.
#[inline(always)]
fn lines<V>(values: &[V]) -> impl Iterator<Item = *const V> {
    (values.chunks(LINE / size_of::<V>())).map(|line| line.as_ptr())
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
fn read_line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    // SAFETY: in 64-bit mode every processor has the instruction, and no address can make it fail.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

/// Not known how, where this was not measured.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
fn read_line(_at: *const u8) {}

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
        will_read([&[1; 1003][..], &[], &[2; 40_000]].into_iter());
        assert!((0..1003).map(|n| n as f32).eq(numbers));
    }

    /// What one step takes by a clock of the test's own, without giving back and with it.
    #[test]
    fn a_trial_finds_the_faster_way_and_finds_out_when_it_changes() {
        let (mut trial, mut now) = (Trial::default(), Instant::now());
        let mut given_back = |times: [u64; 2]| {
            let steps = (0..Trial::PERIOD).map(|step| {
                let gives_back = trial.step(now);
                // Somebody else needs the core now and then.
                let disturbed = if step % 100 == 0 { 900 } else { 0 };
                now += Duration::from_micros(times[usize::from(gives_back)] + disturbed);
                usize::from(gives_back)
            });
            steps.sum::<usize>()
        };
        let tried = Trial::BLOCK * Trial::BLOCKS;
        let rest = Trial::PERIOD - tried;
        assert_eq!(given_back([80, 85]), tried / 2);
        assert_eq!(given_back([86, 85]), tried / 2);
        assert_eq!(given_back([99, 85]), tried / 2 + rest);
        assert_eq!(given_back([80, 85]), tried / 2);
    }

    /// Epochs of a few steps, and much time between them.
    #[test]
    fn a_trial_goes_on_over_short_epochs() {
        let (mut trial, mut now) = (Trial::default(), Instant::now());
        for _ in 0..Trial::PERIOD / 20 {
            trial.pause();
            for _ in 0..20 {
                let faster = trial.step(now);
                now += Duration::from_micros(if faster { 70 } else { 80 });
            }
            now += Duration::from_secs(1);
        }
        assert!(trial.gives_back());
        let left = trial.shortest.map(|shortest| shortest.unwrap());
        assert_eq!(left, [640, 560].map(Duration::from_micros));
    }
}
