//! The bar that shows an epoch going by.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{grouped, may_draw, percent};
use longhand::engines::Progress;

/// A bar on stderr, or nothing where no bar belongs.
pub struct Bar {
    bar: ProgressBar,
    epochs: u32,
    /// Lines above the bar, which go with it.
    above: String,
    epoch: u32,
    /// When the epoch began.
    began: Instant,
}

impl Bar {
    /// A bar for `epochs` epochs; `shown` only if the terminal may be drawn upon.
    pub fn new(epochs: u32, shown: bool) -> Self {
        let target = if shown && may_draw() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template("{prefix} {bar:24.cyan} {percent:>3}% {msg}")
            .expect("the template is well-formed")
            .progress_chars("━╸ ");
        Self {
            bar: ProgressBar::with_draw_target(Some(1), target).with_style(style),
            epochs,
            above: String::new(),
            epoch: 0,
            began: Instant::now(),
        }
    }

    /// Shows how far `epoch` is, how fast, how well, and how long all that is left will take.
    pub fn update(&mut self, epoch: u32, progress: &Progress) {
        if self.bar.is_hidden() {
            return;
        }
        let metrics = &progress.metrics;
        if epoch != self.epoch {
            self.epoch = epoch;
            self.began = Instant::now();
            let prefix = format!("{}epoch {epoch}/{}", self.above, self.epochs);
            self.bar.set_prefix(prefix);
            self.bar.set_length(progress.of as u64);
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let mut message = format!(
            "loss {:.4}  accuracy {}",
            metrics.loss(),
            percent(metrics.accuracy())
        );
        // The first report comes after one step, which says nothing about speed.
        if seconds > 0.05 {
            let rate = metrics.examples as f64 / seconds;
            let epochs_left = (self.epochs - epoch) as f64;
            let left = epochs_left * progress.of as f64 + (progress.of - metrics.examples) as f64;
            let left = Duration::try_from_secs_f64(left / rate).unwrap_or_default();
            message = format!(
                "{} images/s  {message}  {} left",
                grouped(rate as u64),
                indicatif::HumanDuration(left)
            );
        }
        self.bar.set_message(message);
        self.bar.set_position(metrics.examples as u64);
    }

    /// Shows `lines` above the bar, from the next epoch on.
    pub fn set_above(&mut self, lines: &str) {
        self.above = format!("{lines}\n");
    }

    /// Writes something else without disturbing the bar.
    pub fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.bar.suspend(write)
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
