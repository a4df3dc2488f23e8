//! What each epoch gave, as CSV and JSON.

use serde::{Deserialize, Serialize};

use crate::engines::Metrics;

/// One epoch and what judged it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Which, the first being 1.
    pub epoch: u32,
    /// How long training took, what came after it excluded.
    pub seconds: f64,
    /// Running totals over the epoch: each batch judged by the weights that it then changed, with the
    /// recipe's label smoothing and dropout.
    pub train: Metrics,
    /// The test set, judged by the weights at the end, with neither: its loss can be far smaller.
    pub test: Metrics,
    /// The held-out part of the training set, where there is one, judged likewise.
    pub validation: Option<Metrics>,
    /// The learning rate of the last step.
    pub lr: f64,
}

/// An epoch's row of `history.csv`, as JSON has it. Accuracies are fractions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each column is described in `EpochRecord`")]
pub struct EpochRow {
    pub epoch: u32,
    pub seconds: f64,
    pub train_loss: f64,
    pub train_accuracy: f64,
    pub test_loss: f64,
    pub test_accuracy: f64,
    pub lr: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
}

impl EpochRecord {
    /// The record with its means.
    pub fn row(&self) -> EpochRow {
        EpochRow {
            epoch: self.epoch,
            seconds: self.seconds,
            train_loss: self.train.loss(),
            train_accuracy: self.train.accuracy(),
            test_loss: self.test.loss(),
            test_accuracy: self.test.accuracy(),
            lr: self.lr,
            validation_loss: self.validation.map(|validation| validation.loss()),
            validation_accuracy: self.validation.map(|validation| validation.accuracy()),
        }
    }
}

/// The best epoch by its validation, the first of equals; none where no part is held out.
pub fn best(history: &[EpochRecord]) -> Option<&EpochRecord> {
    let validated = history.iter().filter_map(|r| Some((r, r.validation?)));
    let best = validated.reduce(|best, next| match next.1.better_than(&best.1) {
        true => next,
        false => best,
    });
    best.map(|(record, _)| record)
}

/// `history.csv`: a line an epoch under a line of names. The columns of a validation part are
/// there if there is one.
pub fn csv(history: &[EpochRecord]) -> String {
    let validated = history.iter().any(|record| record.validation.is_some());
    let mut csv = "epoch,seconds,train_loss,train_accuracy,test_loss,test_accuracy,lr".to_owned();
    if validated {
        csv += ",validation_loss,validation_accuracy";
    }
    csv.push('\n');
    for row in history.iter().map(EpochRecord::row) {
        csv += &format!(
            "{},{:.3},{:.6},{:.6},{:.6},{:.6},{}",
            row.epoch,
            row.seconds,
            row.train_loss,
            row.train_accuracy,
            row.test_loss,
            row.test_accuracy,
            row.lr,
        );
        if let (Some(loss), Some(accuracy)) = (row.validation_loss, row.validation_accuracy) {
            csv += &format!(",{loss:.6},{accuracy:.6}");
        }
        csv.push('\n');
    }
    csv
}
