//! The numbers behind the curves of a run.

use longhand::engines::Metrics;
use longhand::training::EpochRecord;

use super::axis::drawable;

/// The images that a curve tells of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    Training,
    Validation,
    Test,
}

impl Part {
    /// The parts that `history` has numbers of.
    pub fn of(history: &[EpochRecord]) -> Vec<Self> {
        let validation = history.iter().any(|record| record.validation.is_some());
        [Self::Training, Self::Validation, Self::Test]
            .into_iter()
            .filter(|part| *part != Self::Validation || validation)
            .collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    fn metrics(self, record: &EpochRecord) -> Option<&Metrics> {
        match self {
            Self::Training => Some(&record.train),
            Self::Validation => record.validation.as_ref(),
            Self::Test => Some(&record.test),
        }
    }

    /// Epoch and `value`, NaN where an epoch has none.
    pub fn series(self, history: &[EpochRecord], value: fn(&Metrics) -> f64) -> Vec<[f64; 2]> {
        let points = history.iter().map(|record| {
            let value = self.metrics(record).map_or(f64::NAN, value);
            [f64::from(record.epoch), value]
        });
        points.collect()
    }
}

/// The pieces of a curve between what cannot be drawn.
pub fn runs(points: &[[f64; 2]]) -> impl Iterator<Item = &[[f64; 2]]> {
    points
        .split(|point| !point.iter().all(|&number| drawable(number)))
        .filter(|run| !run.is_empty())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A history of the losses of training, validation and test; no validation where that is NaN
    /// and the others are not. Accuracies are from 90 % on, 1 % more an epoch.
    pub fn history(losses: &[[f64; 3]]) -> Vec<EpochRecord> {
        let record = |(epoch, &[train, validation, test]): (u32, &[f64; 3])| {
            let metrics = |loss| Metrics {
                loss_sum: 100.0 * loss,
                correct: 90 + epoch as usize % 10,
                examples: 100,
            };
            EpochRecord {
                epoch,
                seconds: 1.0,
                train: metrics(train),
                test: metrics(test),
                validation: (!validation.is_nan()).then(|| metrics(validation)),
                lr: 0.1,
            }
        };
        (1..).zip(losses).map(record).collect()
    }

    #[test]
    fn a_series_has_a_gap_where_there_is_no_number() {
        let history = history(&[[1.0, 2.0, 3.0], [4.0, f64::NAN, f64::NAN], [7.0, 8.0, 9.0]]);
        assert_eq!(
            Part::of(&history),
            [Part::Training, Part::Validation, Part::Test]
        );
        assert_eq!(Part::of(&history[1..2]), [Part::Training, Part::Test]);

        let series = Part::Validation.series(&history, Metrics::loss);
        let runs: Vec<_> = runs(&series).collect();
        assert_eq!(runs, [[[1.0, 2.0]], [[3.0, 8.0]]]);
        let series = Part::Training.series(&history, Metrics::loss);
        assert_eq!(series, [[1.0, 1.0], [2.0, 4.0], [3.0, 7.0]]);
    }
}
