//! Axes: where the ticks are, and what is written there.

/// A range of numbers with ticks in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub bounds: [f64; 2],
    pub ticks: Vec<f64>,
    /// The distance between ticks.
    step: f64,
}

impl Axis {
    /// An axis from tick to tick, around all `values` that can be drawn, with about `steps` steps.
    /// It stays within `limits` if these are ticks or infinite.
    pub fn around(values: impl IntoIterator<Item = f64>, limits: [f64; 2], steps: usize) -> Self {
        let [mut low, mut high] = values
            .into_iter()
            .filter(|value| drawable(*value))
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
                [low.min(value), high.max(value)]
            });
        if low > high {
            [low, high] = [0.0, 1.0];
        }
        let size = low.abs().max(high.abs());
        // Too narrow for floating point numbers to count the ticks.
        if high - low <= 1e-9 * size {
            let margin = if size == 0.0 { 1.0 } else { 0.05 * size };
            [low, high] = [low - margin, high + margin];
        }
        [low, high] = [low, high].map(|bound| bound.clamp(limits[0], limits[1]));

        let step = round_step((high - low) / steps.max(1) as f64);
        // The small part keeps rounding from adding a step where a bound is a tick.
        let first = (low / step + 1e-6).floor() as i64;
        let last = (high / step - 1e-6).ceil() as i64;
        let ticks: Vec<f64> = (first..=last).map(|tick| tick as f64 * step).collect();
        let bounds = [first as f64 * step, last as f64 * step];
        Self {
            bounds,
            ticks,
            step,
        }
    }

    /// An axis from `first` to `last` with ticks there and at round whole numbers between, about
    /// `steps` steps.
    pub fn whole(first: u32, last: u32, steps: usize) -> Self {
        let [from, to] = [first, last.max(first)].map(f64::from);
        let step = round_step((to - from) / steps.max(1) as f64).max(1.0);
        let multiples = (from / step).ceil() as i64..=(to / step).floor() as i64;
        let between = multiples
            .map(|tick| tick as f64 * step)
            .filter(|tick| (tick - from).min(to - tick) >= step / 2.0);
        let mut ticks: Vec<f64> = [from].into_iter().chain(between).chain([to]).collect();
        ticks.dedup();
        // A point needs something around it.
        let bounds = if from == to {
            [from - 1.0, to + 1.0]
        } else {
            [from, to]
        };
        Self {
            bounds,
            ticks,
            step,
        }
    }

    /// Where `value` is, from 0 at the lower bound to 1 at the upper.
    pub fn place(&self, value: f64) -> f64 {
        let [low, high] = self.bounds;
        (value - low) / (high - low)
    }

    /// What is written at each tick, with as many digits as tell it from the others.
    pub fn labels(&self) -> Vec<String> {
        let power = |number: f64| number.log10().floor() as i32;
        let largest = self.ticks.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        // A little more, as the logarithm of a step may come out just below its whole number.
        let step = power(self.step * 1.001);
        let write = |&tick: &f64| {
            if (largest < 1e5 && step >= -4) || largest == 0.0 {
                format!("{tick:.*}", (-step).max(0) as usize)
            } else if tick == 0.0 {
                "0".to_owned()
            } else {
                let digits = power(tick.abs() * 1.001) - step;
                format!("{tick:.*e}", digits.max(0) as usize)
            }
        };
        self.ticks.iter().map(write).collect()
    }
}

/// Whether a number has a place on an axis: NaN has none, and beyond these sizes the arithmetic of
/// ticks overflows.
pub fn drawable(value: f64) -> bool {
    value == 0.0 || (1e-290..1e290).contains(&value.abs())
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powi(least.log10().floor() as i32);
    [1.0, 2.0, 5.0, 10.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

    fn labels(values: &[f64]) -> String {
        let axis = Axis::around(values.iter().copied(), ANY, 5);
        axis.labels().join(" ")
    }

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        assert_eq!(labels(&[0.04, 0.26]), "0.00 0.05 0.10 0.15 0.20 0.25 0.30");
        assert_eq!(labels(&[92.5, 98.7]), "92 94 96 98 100");
        assert_eq!(labels(&[0.0, 1.0]), "0.0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(labels(&[-3.0, 4.0]), "-4 -2 0 2 4");
    }

    #[test]
    fn large_and_small_ticks_have_exponents() {
        assert_eq!(labels(&[0.0, 2e7]), "0 5e6 1.0e7 1.5e7 2.0e7");
        assert_eq!(labels(&[0.0, 1e-5]), "0 2e-6 4e-6 6e-6 8e-6 1.0e-5");
        assert_eq!(labels(&[0.0, 1e-200]).split(' ').count(), 6);
    }

    #[test]
    fn every_axis_has_a_width_and_at_least_two_ticks() {
        let some: [&[f64]; 9] = [
            &[],
            &[0.0],
            &[0.01],
            &[-5.0, -5.0],
            &[1e15, 1e15 + 1.0],
            &[f64::NAN, 2.0, f64::INFINITY],
            &[f64::MAX, f64::MIN, f64::MIN_POSITIVE],
            &[-1e289, 1e289],
            &[1e-289, 2e-289],
        ];
        for values in some {
            let axis = Axis::around(values.iter().copied(), ANY, 5);
            let [low, high] = axis.bounds;
            assert!(low < high && high.is_finite(), "{values:?}: {axis:?}");
            assert!((2..=9).contains(&axis.ticks.len()), "{values:?}: {axis:?}");
            for &value in values.iter().filter(|value| drawable(**value)) {
                assert!((-1e-6..=1.000001).contains(&axis.place(value)), "{axis:?}");
            }
        }
    }

    #[test]
    fn limits_are_kept() {
        let axis = Axis::around([100.0, 100.0], [0.0, 100.0], 5);
        assert_eq!(axis.bounds, [95.0, 100.0]);
        let axis = Axis::around([0.0, 0.0], [0.0, f64::INFINITY], 5);
        assert_eq!(axis.bounds, [0.0, 1.0]);
    }

    #[test]
    fn whole_ticks_are_whole_and_no_more_than_fit() {
        let ticks = |first, last| Axis::whole(first, last, 6).ticks;
        assert_eq!(ticks(1, 5), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(ticks(1, 200), [1.0, 50.0, 100.0, 150.0, 200.0]);
        assert_eq!(ticks(1, 12), [1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
        assert_eq!(ticks(3, 3), [3.0]);
        assert!(ticks(0, u32::MAX).len() <= 8);
        assert_eq!(Axis::whole(3, 3, 6).bounds, [2.0, 4.0]);
        assert_eq!(Axis::whole(3, 3, 6).labels(), ["3"]);
    }
}
