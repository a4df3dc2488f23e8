//! Which class was taken for which.

use longhand::data::Dataset;
use longhand::engines::Metrics;
use longhand::layers::cross_entropy::reference::argmax;
use ndarray::Array2;

/// Answers counted by label and answer, with the loss.
pub struct Confusion {
    /// `counts[label][answer]`; what a network answers beyond the labels' classes is one answer
    /// more.
    pub counts: Vec<Vec<usize>>,
    /// The totals.
    pub metrics: Metrics,
}

impl Confusion {
    /// What `logits` (N, K) say about the labels of `data`.
    pub fn of(logits: &Array2<f32>, data: &Dataset) -> Self {
        let classes = data.classes();
        let answers = logits.ncols().min(classes + 1);
        let mut counts = vec![vec![0; answers]; classes];
        let mut metrics = Metrics::default();
        for (logits, &label) in logits.outer_iter().zip(data.labels()) {
            let (logits, label) = (logits.to_vec(), usize::from(label));
            counts[label][argmax(&logits).min(answers - 1)] += 1;
            metrics.add(Metrics::of(&logits, label, 0.0));
        }
        Self { counts, metrics }
    }

    /// The interval that holds the true accuracy with 95 % certainty (Wilson, *Probable Inference,
    /// the Law of Succession, and Statistical Inference*, 1927).
    pub fn interval(&self) -> [f64; 2] {
        const Z: f64 = 1.959_964;
        let n = self.metrics.examples as f64;
        let share = self.metrics.accuracy();
        let centre = share + Z * Z / (2.0 * n);
        let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        [centre - spread, centre + spread].map(|bound| bound / (1.0 + Z * Z / n))
    }

    /// How many images of `class` there are, and how many were recognised.
    pub fn class(&self, class: usize) -> [usize; 2] {
        [self.counts[class].iter().sum(), self.counts[class][class]]
    }

    /// The matrix as lines of text: a row a label, a column an answer, a dot for none.
    pub fn lines(&self) -> Vec<String> {
        let largest = self.counts.iter().flatten().max().copied().unwrap_or(0);
        let width = largest.to_string().len().max(3) + 1;
        let classes = self.counts.len();
        let answers = self.counts.first().map_or(0, Vec::len);
        let name = |answer: usize| match answer {
            answer if answer < classes => answer.to_string(),
            _ => "+".to_owned(),
        };
        let header = (0..answers)
            .map(|answer| format!("{:>width$}", name(answer)))
            .collect::<String>();
        let mut lines = vec![format!("     {header}")];
        for (label, counts) in self.counts.iter().enumerate() {
            let cells = counts.iter().map(|&count| match count {
                0 => format!("{:>width$}", "·"),
                count => format!("{count:>width$}"),
            });
            lines.push(format!("{label:>5}{}", cells.collect::<String>()));
        }
        lines
    }
}
