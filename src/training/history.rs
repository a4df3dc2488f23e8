//! What each epoch gave, as CSV and JSON.

use serde_json::{Value, json};

use crate::engines::Metrics;

/// One epoch and its test pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochRecord {
    /// Which, the first being 1.
    pub epoch: u32,
    /// How long training took, the test pass excluded.
    pub seconds: f64,
    /// Running totals over the epoch: each batch judged by the weights that it then changed.
    pub train: Metrics,
    /// The test set, judged by the weights at the end.
    pub test: Metrics,
    /// The held-out part of the training set, where there is one, judged likewise.
    pub validation: Option<Metrics>,
    /// The learning rate.
    pub lr: f64,
}

impl EpochRecord {
    /// The record as a JSON object, with the names of the columns of [`csv`].
    pub fn json(&self) -> Value {
        json!({
            "epoch": self.epoch,
            "seconds": self.seconds,
            "train_loss": self.train.loss(),
            "train_accuracy": self.train.accuracy(),
            "test_loss": self.test.loss(),
            "test_accuracy": self.test.accuracy(),
            "lr": self.lr,
        })
    }
}

/// `history.csv`: a line an epoch under a line of names. Accuracies are fractions.
pub fn csv(history: &[EpochRecord]) -> String {
    let mut csv = "epoch,seconds,train_loss,train_accuracy,test_loss,test_accuracy,lr\n".to_owned();
    for record in history {
        let EpochRecord {
            epoch,
            seconds,
            train,
            test,
            validation: _,
            lr,
        } = record;
        csv += &format!(
            "{epoch},{seconds:.3},{:.6},{:.6},{:.6},{:.6},{lr}\n",
            train.loss(),
            train.accuracy(),
            test.loss(),
            test.accuracy(),
        );
    }
    csv
}
