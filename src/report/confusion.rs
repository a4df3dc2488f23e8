//! Which class was taken for which, as text and as a picture.

use super::canvas::{Align, BLUE, Canvas, GRAY, INK, Picture, PictureError, VERMILION};
use super::font::text_width;
use super::{grouped, percent};
use longhand::data::Dataset;
use longhand::engines::Metrics;
use longhand::layers::cross_entropy::reference::argmax;
use ndarray::Array2;
use plotters::style::{RGBColor, WHITE};

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
        [centre - spread, centre + spread]
            // Where all or none are right, what is rounded off may lie outside.
            .map(|bound| (bound / (1.0 + Z * Z / n)).clamp(0.0, 1.0))
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
        let header = (0..self.answers())
            .map(|answer| format!("{:>width$}", name(answer, classes)))
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
    /// The matrix as a picture: the more of a label's images, the darker, right answers blue and
    /// errors red.
    pub fn picture(&self) -> Result<Picture, PictureError> {
        const SIDE: f64 = 640.0;
        let [classes, answers] = [self.counts.len(), self.answers()];
        let cell = (SIDE / answers.max(1) as f64).clamp(6.0, 80.0).floor();
        let [left, top] = [84.0, 128.0];
        let [width, height] = [answers, classes].map(|cells| cells as f64 * cell);
        let title = format!(
            "{} of {} test images right",
            percent(self.metrics.accuracy()),
            grouped(self.metrics.examples as u64)
        );
        let key = "the darker, the larger the share of the row (its fourth root)";
        let wide = text_width(&title, 22.0).max(text_width(key, 14.0) * 1.15);
        let mut canvas = Canvas::new([left + width.max(wide) + 36.0, top + height + 28.0]);
        canvas.text(&title, [left, 30.0], 22.0, INK, Align::Left);
        canvas.text(key, [left, 58.0], 14.0, GRAY, Align::Left);

        // Where cells are too small for a name each, some have one.
        let names = (0.6 * cell).clamp(9.0, 17.0);
        let named = (14.0 / cell).ceil() as usize;
        canvas.text(
            "answer",
            [left + width / 2.0, top - 36.0],
            16.0,
            INK,
            Align::Centre,
        );
        canvas.text("label", [left - 30.0, top - 12.0], 16.0, INK, Align::Right);
        for answer in (0..answers).step_by(named) {
            let across = left + (answer as f64 + 0.5) * cell;
            let name = name(answer, classes);
            canvas.text(&name, [across, top - 12.0], names, INK, Align::Centre);
        }
        // One size for all numbers, which the widest fits.
        let widest = self.counts.iter().flatten().max().copied().unwrap_or(0);
        let room = 0.84 * cell / text_width(&widest.to_string(), 100.0) * 100.0;
        let digits = room.min(0.42 * cell).min(22.0);
        for (label, counts) in self.counts.iter().enumerate() {
            let down = top + label as f64 * cell;
            let middle = down + cell / 2.0;
            if label % named == 0 {
                let beside = [left - 10.0, middle];
                canvas.text(&label.to_string(), beside, names, INK, Align::Right);
            }
            let images: usize = counts.iter().sum();
            for (answer, &count) in counts.iter().enumerate() {
                let across = left + answer as f64 * cell;
                let hue = if label == answer { BLUE } else { VERMILION };
                // The root, as a class's few errors would be white beside its right answers.
                let share = (count as f64 / images.max(1) as f64).powf(0.25);
                let corners = [[across, down], [across + cell - 1.0, down + cell - 1.0]];
                canvas.rectangle(corners, shade(hue, share));
                // Smaller than this, nobody can read it.
                if count > 0 && digits >= 7.0 {
                    let ink = if share > 0.8 { WHITE } else { INK };
                    let centre = [across + cell / 2.0, middle];
                    canvas.text(&count.to_string(), centre, digits, ink, Align::Centre);
                }
            }
        }
        canvas.picture()
    }

    fn answers(&self) -> usize {
        self.counts.first().map_or(0, Vec::len)
    }
}

/// An answer as its column is headed.
fn name(answer: usize, classes: usize) -> String {
    match answer {
        answer if answer < classes => answer.to_string(),
        _ => "+".to_owned(),
    }
}

/// `hue`, the fainter the smaller `share`, which is from 0 to 1. None at all is a light gray, so
/// that the matrix is seen.
fn shade(RGBColor(r, g, b): RGBColor, share: f64) -> RGBColor {
    if share == 0.0 {
        return RGBColor(246, 246, 246);
    }
    let faint = |full: u8| (255.0 - share * f64::from(255 - full)).round() as u8;
    RGBColor(faint(r), faint(g), faint(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// `classes` classes, 100 images each, one in ten taken for the next answer.
    fn confusion(classes: usize, answers: usize) -> Confusion {
        let mut counts = vec![vec![0; answers]; classes];
        for (label, counts) in counts.iter_mut().enumerate() {
            counts[label] = 90;
            counts[(label + 1) % answers] = 10;
        }
        let metrics = Metrics {
            loss_sum: 0.0,
            correct: 90 * classes,
            examples: 100 * classes,
        };
        Confusion { counts, metrics }
    }

    #[test]
    fn rows_are_labels_and_columns_answers() {
        let confusion = Confusion {
            counts: vec![vec![8, 2], vec![1, 4]],
            metrics: Metrics {
                loss_sum: 0.0,
                correct: 12,
                examples: 15,
            },
        };
        assert_eq!([confusion.class(0), confusion.class(1)], [[10, 8], [5, 4]]);
        let lines = ["        0   1", "    0   8   2", "    1   1   4"];
        assert_eq!(confusion.lines(), lines);
        // By Wilson's formula, by hand: 12 of 15.
        let [low, high] = confusion.interval();
        assert!(
            (low - 0.5481).abs() < 1e-4 && (high - 0.9295).abs() < 1e-4,
            "{low} {high}"
        );
    }

    #[test]
    fn an_interval_is_within_what_can_be() {
        for examples in 1..3000 {
            for correct in [0, examples] {
                let metrics = Metrics {
                    loss_sum: 0.0,
                    correct,
                    examples,
                };
                let counts = Vec::new();
                let [low, high] = Confusion { counts, metrics }.interval();
                assert!(
                    low.is_sign_positive() && low <= high && high <= 1.0,
                    "{low} {high}"
                );
            }
        }
    }

    #[test]
    fn a_picture_has_a_cell_a_pair_and_a_count_where_there_is_one() {
        let Picture { svg, png } = confusion(10, 10).picture().unwrap();
        assert!(svg.contains("90.00 % of 1,000 test images right"), "{svg}");
        let words = |word: &str| svg.lines().filter(|line| line.trim() == word).count();
        assert_eq!([words("90"), words("10"), words("9")], [10, 10, 2]);

        let image = image::load_from_memory(&png).unwrap().to_rgb8();
        // Cells are 64 units, 128 device pixels; a corner of each has no text.
        let cell =
            |row: u32, column: u32| *image.get_pixel(168 + 128 * column + 8, 256 + 128 * row + 8);
        assert_eq!(cell(0, 0), cell(9, 9));
        assert_eq!(cell(0, 1), cell(9, 0));
        assert_eq!(cell(0, 5), Rgb([246; 3]));
        let Rgb([red, _, blue]) = cell(3, 3);
        assert!(red < 60 && blue > 150, "{:?}", cell(3, 3));
        let Rgb([red, _, blue]) = cell(3, 4);
        assert!(red > 220 && blue < 130, "{:?}", cell(3, 4));
    }

    #[test]
    fn every_number_of_classes_has_a_picture() {
        for (classes, answers) in [(2, 2), (2, 3), (26, 27), (62, 62), (1, 1), (0, 0)] {
            let Picture { svg, png } = confusion(classes, answers).picture().unwrap();
            assert_eq!(
                svg.lines().any(|line| line.trim() == "+"),
                answers > classes
            );
            let image = image::load_from_memory(&png).unwrap();
            assert!(image.width() < 2400 && image.height() < 2600);
        }
    }

    /// As many as a byte can name, and one answer more.
    #[test]
    fn the_most_classes_have_a_picture_of_a_sensible_size() {
        let png = confusion(256, 257).picture().unwrap().png;
        let image = image::load_from_memory(&png).unwrap();
        assert!(image.width() < 3500 && image.height() < 3500);
    }

    #[test]
    fn a_picture_of_large_counts_has_them_smaller() {
        let mut confusion = confusion(62, 62);
        confusion.counts[0][0] = 1_000_000;
        let svg = confusion.picture().unwrap().svg;
        assert!(!svg.contains("1000000"), "a text that no cell has room for");
    }
}
