//! The history of a run as text: curves of Braille dots.

use std::fmt::Write;

use longhand::engines::Metrics;
use longhand::training::EpochRecord;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Color;
use ratatui_core::symbols::Marker;
use ratatui_core::text::Line;
use ratatui_core::widgets::Widget;
use ratatui_widgets::chart::{Axis as ChartAxis, Chart, Dataset, GraphType};

use super::axis::Axis;
use super::series::{Part, runs};

/// Lines of a chart, with its axis and title, beside another and above another.
const BESIDE: u16 = 14;
const ABOVE: u16 = 10;
/// Columns between two charts.
const GAP: u16 = 3;
/// The narrowest terminal that has room for two charts side by side.
const TWO: u16 = 70;

/// How a curve is drawn.
struct Look {
    colour: Color,
    marker: Marker,
    /// What stands for it in the legend.
    sign: &'static str,
}

/// Colours tell curves apart where there are any, otherwise their dots.
fn look(part: Part, colour: bool) -> Look {
    let (hue, marker, sign) = match part {
        Part::Training => (Color::Cyan, Marker::Braille, "⠒⠒"),
        Part::Validation => (Color::Yellow, Marker::Custom('+'), "++"),
        Part::Test => (Color::Magenta, Marker::Dot, "••"),
    };
    if colour {
        let (marker, sign) = (Marker::Braille, "⠒⠒");
        Look {
            colour: hue,
            marker,
            sign,
        }
    } else {
        Look {
            colour: Color::Reset,
            marker,
            sign,
        }
    }
}

/// Loss and accuracy of `history`, in a run of `epochs` epochs, as lines of at most `width`
/// columns, with the escape codes of colours if `colour`.
pub fn plot(history: &[EpochRecord], epochs: u32, width: u16, colour: bool) -> String {
    let parts = Part::of(history);
    let two = width >= TWO;
    let height = if two { BESIDE } else { ABOVE };
    let area = |column: u16, row: u16, width| Rect::new(column, row, width, height);
    // Narrower lines hold no chart, and no terminal has wider ones.
    let width = width.clamp(12, 1000);
    let half = (width - GAP) / 2;
    let areas = if two {
        [area(0, 0, half), area(half + GAP, 0, half)]
    } else {
        [area(0, 0, width), area(0, height, width)]
    };
    let last = if two { height } else { 2 * height };
    // The legend is one line if that has room, otherwise a line a part.
    let names = parts.iter().map(|part| part.name().len() + 6);
    let beside = names.sum::<usize>() <= usize::from(width) + 3;
    let lines = if beside { 1 } else { parts.len() as u16 };
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, last + lines));

    let first = history.first().map_or(1, |record| record.epoch);
    let latest = history.last().map_or(1, |record| record.epoch);
    let x = Axis::whole(first, epochs.max(latest), usize::from(areas[0].width) / 7);
    let charts = [
        ("loss", Metrics::loss as fn(&Metrics) -> f64, f64::INFINITY),
        ("accuracy, %", |metrics| 100.0 * metrics.accuracy(), 100.0),
    ];
    for ((title, value, most), area) in charts.into_iter().zip(areas) {
        let series = parts.iter().map(|part| part.series(history, value));
        let series: Vec<_> = series.collect();
        let values = series.iter().flatten().map(|[_, value]| *value);
        let y = Axis::around(values, [0.0, most], usize::from(height / 3));
        let looks = parts.iter().map(|part| look(*part, colour));
        chart(title, &x, &y, looks.zip(&series), area, &mut buffer);
    }
    let [mut column, mut row] = [0, last];
    for part in parts {
        let Look { colour, sign, .. } = look(part, colour);
        let (after, _) = buffer.set_stringn(column, row, sign, 2, colour);
        let name = format!(" {}", part.name());
        let (after, _) =
            buffer.set_stringn(after, row, name, usize::from(width - after), Color::Reset);
        [column, row] = if beside {
            [after + 3, row]
        } else {
            [0, row + 1]
        };
    }
    text(&buffer)
}

/// Draws one chart under its title.
fn chart<'a>(
    title: &str,
    x: &Axis,
    y: &Axis,
    curves: impl Iterator<Item = (Look, &'a Vec<[f64; 2]>)>,
    area: Rect,
    buffer: &mut Buffer,
) {
    // Curves in the order of the legend, the later over the earlier.
    let mut pieces = Vec::new();
    for (look, series) in curves {
        for run in runs(series) {
            let points: Vec<(f64, f64)> = run.iter().map(|&[x, y]| (x, y)).collect();
            // One dot of Braille is hardly seen.
            let marker = match (look.marker, run.len()) {
                (Marker::Braille, 1) => Marker::Custom('⠶'),
                (marker, _) => marker,
            };
            pieces.push((look.colour, marker, points));
        }
    }
    let curves = pieces.iter().map(|(colour, marker, points)| {
        Dataset::default()
            .marker(*marker)
            .graph_type(GraphType::Line)
            .style(*colour)
            .data(points)
    });
    let labels = y.labels();
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let below = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    Chart::new(curves.collect())
        // One row for the labels, which are written below: the widget has only a few places.
        .x_axis(ChartAxis::default().bounds(x.bounds).labels(["", ""]))
        .y_axis(
            ChartAxis::default().bounds(y.bounds).labels(
                labels
                    .iter()
                    .map(|label| Line::from(format!("{label:>margin$}"))),
            ),
        )
        .legend_position(None)
        .render(below, buffer);

    // The widget gives the labels at most a third of its width.
    let margin = (margin as u16).min(below.width / 3);
    buffer.set_stringn(
        area.x + margin + 1,
        area.y,
        title,
        usize::from(area.width - margin - 1),
        Color::Reset,
    );
    let left = area.x + margin + 1;
    let wide = area.right() - left;
    // The ends first, then what has room between.
    let mut labels: Vec<_> = x.ticks.iter().copied().zip(x.labels()).collect();
    if let [_, others @ ..] = labels.as_mut_slice()
        && !others.is_empty()
    {
        others.rotate_right(1);
    }
    let row = area.bottom() - 1;
    for (tick, label) in labels {
        let centre = f64::from(left) + x.place(tick) * f64::from(wide - 1);
        let length = label.len() as u16;
        let start = (centre.round() as u16).saturating_sub((length - 1) / 2);
        let start = start.min(area.right().saturating_sub(length));
        let around = start.saturating_sub(1).max(area.x)..(start + length + 1).min(area.right());
        if around
            .into_iter()
            .all(|column| buffer[(column, row)].symbol() == " ")
        {
            buffer.set_stringn(start, row, &label, usize::from(length), Color::Reset);
        }
    }
}

/// The lines of `buffer`, without what is blank at their ends.
fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for (row, cells) in buffer
        .content()
        .chunks(usize::from(buffer.area.width))
        .enumerate()
    {
        if row > 0 {
            text.push('\n');
        }
        let blank = |cell: &ratatui_core::buffer::Cell| matches!(cell.symbol(), " " | "⠀");
        let end = cells
            .iter()
            .rposition(|cell| !blank(cell))
            .map_or(0, |last| last + 1);
        let mut colour = Color::Reset;
        for cell in &cells[..end] {
            // A blank has no colour, so it does not end one.
            if cell.fg != colour && !blank(cell) {
                colour = cell.fg;
                let _ = write!(text, "\x1b[{}m", code(colour));
            }
            // Terminals draw Braille's blank as they please.
            text.push_str(if blank(cell) { " " } else { cell.symbol() });
        }
        if colour != Color::Reset {
            let _ = write!(text, "\x1b[{}m", code(Color::Reset));
        }
    }
    text
}

/// The number of a foreground colour.
fn code(colour: Color) -> u8 {
    match colour {
        Color::Cyan => 36,
        Color::Yellow => 33,
        Color::Magenta => 35,
        _ => 39,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::series::tests::history;

    const LOSSES: [[f64; 3]; 3] = [[0.3, 0.2, 0.1], [0.2, 0.1, 0.2], [0.1, 0.3, 0.3]];

    fn braille(character: char) -> bool {
        ('⠁'..='⣿').contains(&character)
    }

    #[test]
    fn charts_are_side_by_side_where_there_is_room() {
        let wide = plot(&history(&LOSSES), 3, 100, false);
        let lines: Vec<&str> = wide.lines().collect();
        assert_eq!(lines.len(), 15);
        assert!(lines[0].contains("loss") && lines[0].contains("accuracy, %"));
        assert_eq!(
            lines[13].split_whitespace().collect::<Vec<_>>(),
            ["1", "2", "3", "1", "2", "3"]
        );
        assert_eq!(lines[14], "⠒⠒ training   ++ validation   •• test");

        let narrow = plot(&history(&LOSSES), 3, 69, false);
        let lines: Vec<&str> = narrow.lines().collect();
        assert_eq!(lines.len(), 21);
        assert!(lines[0].trim() == "loss" && lines[10].trim() == "accuracy, %");
    }

    #[test]
    fn curves_are_where_their_numbers_are() {
        let text = plot(&history(&LOSSES), 3, 100, false);
        let rows: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        // Ticks are from 0.10 in row 11 to 0.30 in row 1; the axis is in column 4.
        let at = |row: usize, column: usize| rows[row].get(column).copied().unwrap_or(' ');
        assert!(text.lines().nth(1).unwrap().starts_with("0.30│"));
        assert!(text.lines().nth(11).unwrap().starts_with("0.10│"));
        assert!(braille(at(1, 5)) && at(6, 5) == '+' && at(11, 5) == '•');
        assert!(at(1, 47) == '•' && braille(at(11, 47)));
    }

    #[test]
    fn a_curve_ends_where_the_run_is() {
        let text = plot(&history(&LOSSES), 300, 100, false);
        assert!(text.lines().nth(13).unwrap().contains("300"));
        for line in text.lines().take(12).skip(1) {
            let left = line.chars().take(48).skip(7);
            assert!(left.clone().all(|c| c == ' ' || c.is_ascii()), "{line}");
        }
    }

    #[test]
    fn colours_are_foregrounds_that_end_with_the_line() {
        let plain = plot(&history(&LOSSES), 3, 100, false);
        assert!(!plain.contains('\x1b'));
        let coloured = plot(&history(&LOSSES), 3, 100, true);
        for line in coloured.lines() {
            let codes: Vec<&str> = line.split("\x1b[").skip(1).map(|rest| &rest[..3]).collect();
            assert!(
                codes
                    .iter()
                    .all(|code| ["36m", "33m", "35m", "39m"].contains(code))
            );
            assert!(codes.last().is_none_or(|last| *last == "39m"), "{line:?}");
        }
        for code in ["\x1b[36m", "\x1b[33m", "\x1b[35m"] {
            assert!(coloured.contains(code), "{coloured:?}");
        }
    }

    #[test]
    fn one_epoch_is_a_point() {
        let text = plot(&history(&LOSSES[..1]), 1, 100, false);
        assert_eq!(text.matches('⠶').count(), 1);
        // Two parts with one accuracy are one point; each part has two in the legend.
        assert_eq!(
            [text.matches('•').count(), text.matches('+').count()],
            [4, 3]
        );
    }

    #[test]
    fn any_numbers_and_widths_have_a_plot() {
        let histories = [
            vec![],
            vec![[f64::NAN; 3]; 3],
            vec![[2.3; 3]; 5],
            vec![
                [1e300, f64::INFINITY, 1e-300],
                [f64::MAX, 1.0, 0.0],
                [-1e-300, 1e9, 1e-9],
            ],
            vec![[0.1, 0.2, 0.3]; 400],
        ];
        for losses in histories {
            for width in (0..40).chain((40..=300).step_by(13)).chain([u16::MAX]) {
                for epochs in [0, 5, u32::MAX] {
                    let text = plot(&history(&losses), epochs, width, width % 2 == 0);
                    assert!(!text.contains("NaN") && !text.lines().any(|line| line.ends_with(' ')));
                    if width >= 20 && width % 2 == 1 {
                        let longest = text.lines().map(|line| line.chars().count()).max();
                        assert!(longest <= Some(width.into()), "{width}:\n{text}");
                    }
                }
            }
        }
    }
}
