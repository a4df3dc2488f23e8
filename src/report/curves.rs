//! The history of a run as a picture: loss, accuracy, learning rate.

use longhand::training::EpochRecord;
use plotters::style::RGBColor;

use super::axis::Axis;
use super::canvas::{
    Align, BLUE, Canvas, FAINT, GRAY, GREEN, INK, Picture, PictureError, Point, SCALE, VERMILION,
};
use super::series::{Part, runs};

const SIZE: Point = [1200.0, 390.0];
/// The left edges and the width of the panels' axes, and their upper and lower ends.
const LEFT: [f64; 3] = [64.0, 474.0, 884.0];
const WIDTH: f64 = 296.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 336.0;
/// Between the ends of a horizontal axis and its first and last values.
const INSET: f64 = 10.0;
/// The most points that are marked one by one, on a dashed line. Of more, some are marked, and the
/// line is whole, as dashes of a ragged line are a mess.
const FEW: usize = 30;

/// How a curve is drawn: in three ways that each tell it from the others.
struct Look {
    colour: RGBColor,
    /// Where there are few points.
    dash: Option<[f64; 2]>,
    marker: fn(&mut Canvas, Point, RGBColor),
    /// Whether it is marked at all, but for single points.
    marked: bool,
}

fn look(part: Part) -> Look {
    let (colour, dash, marker): (_, _, fn(&mut Canvas, Point, RGBColor)) = match part {
        Part::Training => (BLUE, None, circle),
        Part::Validation => (GREEN, Some([3.0, 3.0]), triangle),
        Part::Test => (VERMILION, Some([9.0, 4.0]), square),
    };
    Look {
        colour,
        dash,
        marker,
        marked: true,
    }
}

/// Draws `history`, and `rates`: epochs passed and the learning rate then.
pub fn curves(history: &[EpochRecord], rates: &[[f64; 2]]) -> Result<Picture, PictureError> {
    let mut canvas = Canvas::new(SIZE);
    let parts = Part::of(history);
    legend(&mut canvas, &parts, history.len());

    let first = history.first().map_or(1, |record| record.epoch);
    let last = history.last().map_or(1, |record| record.epoch);
    let epochs = Axis::whole(first, last, 8);
    let values = |value: fn(&longhand::engines::Metrics) -> f64| {
        let series = parts.iter().map(|part| part.series(history, value));
        series.collect::<Vec<_>>()
    };
    let losses = values(|metrics| metrics.loss());
    let accuracies = values(|metrics| 100.0 * metrics.accuracy());
    let all = |series: &[Vec<[f64; 2]>]| series.concat().into_iter().map(|[_, value]| value);

    let panels = [
        (
            "loss",
            Axis::around(all(&losses), [0.0, f64::INFINITY], 6),
            losses,
        ),
        (
            "accuracy, %",
            Axis::around(all(&accuracies), [0.0, 100.0], 6),
            accuracies,
        ),
    ];
    for ((title, axis, series), left) in panels.into_iter().zip(LEFT) {
        let panel = Panel {
            left,
            x: epochs.clone(),
            y: axis,
        };
        panel.frame(&mut canvas, title);
        for (part, series) in parts.iter().zip(series) {
            panel.curve(&mut canvas, &series, &look(*part));
        }
    }

    // From nothing to a little above the highest, so that a constant rate is a line amid the panel.
    let highest = rates.iter().map(|[_, rate]| 1.1 * rate);
    let passed = rates.iter().map(|[epochs, _]| epochs.ceil() as u32);
    let panel = Panel {
        left: LEFT[2],
        x: Axis::whole(0, passed.max().unwrap_or(last).max(1), 8),
        y: Axis::around(highest.chain([0.0]), [0.0, f64::INFINITY], 6),
    };
    panel.frame(&mut canvas, "learning rate");
    let look = Look {
        colour: INK,
        dash: None,
        marker: circle,
        marked: false,
    };
    panel.curve(&mut canvas, rates, &look);
    canvas.picture()
}

/// What the curves are, above the panels, where no curve is.
fn legend(canvas: &mut Canvas, parts: &[Part], epochs: usize) {
    let mut left = LEFT[0];
    for part in parts {
        let look = look(*part);
        let line = vec![[left, 24.0], [left + 44.0, 24.0]];
        canvas.path(line, look.colour, 2.0, look.dash.filter(|_| epochs <= FEW));
        (look.marker)(canvas, [left + 22.0, 24.0], look.colour);
        canvas.text(part.name(), [left + 54.0, 24.0], 17.0, INK, Align::Left);
        left += 160.0;
    }
}

struct Panel {
    left: f64,
    x: Axis,
    y: Axis,
}

impl Panel {
    fn place(&self, [x, y]: [f64; 2]) -> Point {
        [
            self.left + INSET + self.x.place(x) * (WIDTH - 2.0 * INSET),
            BOTTOM - self.y.place(y) * (BOTTOM - TOP),
        ]
    }

    /// Axes, ticks, and what is written at them.
    fn frame(&self, canvas: &mut Canvas, title: &str) {
        let Panel { left, x, y } = self;
        let right = left + WIDTH;
        canvas.text(title, [*left, TOP - 26.0], 19.0, INK, Align::Left);
        for (&tick, label) in y.ticks.iter().zip(y.labels()) {
            let [_, height] = self.place([x.bounds[0], tick]);
            canvas.line([*left, height], [right, height], FAINT);
            canvas.text(&label, [left - 8.0, height], 15.0, INK, Align::Right);
        }
        for (&tick, label) in x.ticks.iter().zip(x.labels()) {
            let [across, _] = self.place([tick, y.bounds[0]]);
            canvas.line([across, BOTTOM], [across, BOTTOM + 5.0], GRAY);
            canvas.text(&label, [across, BOTTOM + 16.0], 15.0, INK, Align::Centre);
        }
        canvas.line([*left, BOTTOM], [right, BOTTOM], GRAY);
        let middle = left + WIDTH / 2.0;
        canvas.text("epoch", [middle, BOTTOM + 38.0], 16.0, INK, Align::Centre);
    }

    fn curve(&self, canvas: &mut Canvas, points: &[[f64; 2]], look: &Look) {
        // Lines first, so that no marker is crossed by one.
        let dash = look.dash.filter(|_| points.len() <= FEW);
        for run in runs(points) {
            let places: Vec<Point> = run.iter().map(|&point| self.place(point)).collect();
            canvas.path(thinned(&places), look.colour, 2.0, dash);
        }
        let every = if points.len() <= FEW {
            1
        } else {
            points.len().div_ceil(10)
        };
        let mut passed = 0;
        for run in runs(points) {
            for &point in run {
                passed += 1;
                // A single point is no line, so it must be seen by itself.
                if look.marked && passed % every == 0 || run.len() == 1 {
                    (look.marker)(canvas, self.place(point), look.colour);
                }
            }
        }
    }
}

/// What of a line can be seen: where many points share a column of pixels, the first, the lowest,
/// the highest and the last.
fn thinned(points: &[Point]) -> Vec<Point> {
    let column = |[x, _]: Point| (x * f64::from(SCALE)).round() as i64;
    let mut seen = Vec::new();
    for group in points.chunk_by(|&a, &b| column(a) == column(b)) {
        let by_height = |&a: &usize, &b: &usize| group[a][1].total_cmp(&group[b][1]);
        let low = (0..group.len()).min_by(by_height);
        let high = (0..group.len()).max_by(by_height);
        let mut kept: Vec<usize> = [0, group.len() - 1]
            .into_iter()
            .chain(low)
            .chain(high)
            .collect();
        kept.sort_unstable();
        kept.dedup();
        seen.extend(kept.into_iter().map(|index| group[index]));
    }
    seen
}

fn circle(canvas: &mut Canvas, centre: Point, colour: RGBColor) {
    canvas.circle(centre, 4.0, colour);
}

fn square(canvas: &mut Canvas, [x, y]: Point, colour: RGBColor) {
    let half = 3.5;
    canvas.rectangle([[x - half, y - half], [x + half, y + half]], colour);
}

fn triangle(canvas: &mut Canvas, [x, y]: Point, colour: RGBColor) {
    let corners = vec![[x, y - 5.0], [x + 5.0, y + 4.0], [x - 5.0, y + 4.0]];
    canvas.polygon(corners, colour);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::series::tests::history;
    use image::{Rgb, RgbImage};

    fn draw(history: &[EpochRecord], rates: &[[f64; 2]]) -> (Vec<String>, String, RgbImage) {
        let Picture { svg, png } = curves(history, rates).unwrap();
        let texts = svg.lines().filter(|line| !line.contains(['<', '>']));
        let texts = texts.map(str::to_owned).collect();
        let image = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (2400, 780));
        assert_eq!(*image.get_pixel(0, 0), Rgb([255; 3]));
        assert!(!svg.contains("NaN"));
        (texts, svg, image)
    }

    /// Whether a pixel near a place of the canvas has a colour.
    fn has(image: &RgbImage, [x, y]: Point, RGBColor(r, g, b): RGBColor) -> bool {
        let [x, y] = [x, y].map(|unit| (unit * f64::from(SCALE)) as u32);
        (x - 4..x + 4).any(|x| (y - 4..y + 4).any(|y| image.get_pixel(x, y).0 == [r, g, b]))
    }

    #[test]
    fn each_part_has_its_curve_where_its_numbers_are() {
        let losses = [[0.3, 0.2, 0.1], [0.2, 0.1, 0.25], [0.1, 0.3, 0.3]];
        let (texts, svg, image) = draw(&history(&losses), &[[0.0, 0.1], [3.0, 0.05]]);
        for text in [
            "training",
            "validation",
            "test",
            "loss",
            "accuracy, %",
            "learning rate",
        ] {
            assert!(texts.iter().any(|other| other == text), "{text}: {texts:?}");
        }
        assert_eq!(texts.iter().filter(|text| *text == "epoch").count(), 3);
        // Ticks are from 0.10 to 0.30.
        let [left, middle, right] =
            [0.0, 0.5, 1.0].map(|x| LEFT[0] + INSET + x * (WIDTH - 2.0 * INSET));
        let half = (TOP + BOTTOM) / 2.0;
        assert!(has(&image, [left, TOP], BLUE) && has(&image, [middle, half], BLUE));
        assert!(has(&image, [left, half], GREEN) && has(&image, [middle, BOTTOM], GREEN));
        assert!(has(&image, [left, BOTTOM], VERMILION) && has(&image, [right, TOP], VERMILION));
        assert!(!has(&image, [right, TOP], BLUE));
        assert!(has(
            &image,
            [LEFT[2] + INSET, TOP + (BOTTOM - TOP) / 6.0],
            INK
        ));
        let (_, again, _) = draw(&history(&losses), &[[0.0, 0.1], [3.0, 0.05]]);
        assert!(svg == again, "the same numbers, another picture");
    }

    #[test]
    fn one_epoch_is_a_point_and_no_validation_is_no_curve() {
        let (texts, svg, image) =
            draw(&history(&[[0.3, f64::NAN, 0.1]]), &[[0.0, 0.1], [1.0, 0.1]]);
        assert!(!texts.iter().any(|text| text == "validation"));
        let across = LEFT[0] + WIDTH / 2.0;
        assert!(has(&image, [across, TOP], BLUE) && has(&image, [across, BOTTOM], VERMILION));
        // In the legend and in two panels.
        assert_eq!(svg.matches("<circle").count(), 3);
        assert_eq!(texts.iter().filter(|text| *text == "1").count(), 3);
    }

    #[test]
    fn what_is_no_number_is_a_gap() {
        let mut losses = vec![[0.3, 0.2, 0.1]; 9];
        losses[4][0] = f64::NAN;
        let (_, _, image) = draw(&history(&losses), &[[0.0, f64::NAN]]);
        let across = |epoch: f64| LEFT[0] + INSET + (epoch - 1.0) / 8.0 * (WIDTH - 2.0 * INSET);
        assert!(has(&image, [across(3.5), TOP], BLUE));
        assert!(!has(&image, [across(4.5), TOP], BLUE));
        assert!(!has(&image, [across(5.5), TOP], BLUE));
        assert!(has(&image, [across(6.5), TOP], BLUE));
    }

    #[test]
    fn any_numbers_have_a_picture() {
        for losses in [
            vec![],
            vec![[f64::NAN; 3]; 3],
            vec![[2.3; 3]; 5],
            vec![[0.0; 3]; 5],
            vec![[1e300, f64::INFINITY, 1e-300], [f64::MAX, 1.0, 0.0]],
            vec![[1e-12, 2e-12, 3e-12], [3e-12, 2e-12, 1e-12]],
        ] {
            for rates in [
                vec![],
                vec![[0.0, 0.0]],
                vec![[0.0, 1e300], [f64::NAN, 1.0]],
            ] {
                draw(&history(&losses), &rates);
            }
        }
    }

    #[test]
    fn a_long_history_is_thinned_but_keeps_its_peaks() {
        let rates: Vec<[f64; 2]> = (0..100_000)
            .map(|step| {
                [
                    f64::from(step) / 1e4,
                    if step == 50_005 { 1.0 } else { 0.01 },
                ]
            })
            .collect();
        let (_, svg, image) = draw(&history(&[[0.3, 0.2, 0.1]; 10]), &rates);
        assert!(svg.len() < 100_000, "{} bytes", svg.len());
        // A peak of 1 under a tick of 1.2.
        let peak = [LEFT[2] + WIDTH / 2.0, BOTTOM - (BOTTOM - TOP) / 1.2];
        assert!(has(&image, [peak[0], peak[1] + 5.0], INK));
    }
}
