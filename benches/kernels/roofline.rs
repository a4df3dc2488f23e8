//! The roofline: what every kernel reaches, under what the machine allows (Williams, Waterman,
//! Patterson, *Roofline: An Insightful Visual Performance Model*, CACM 2009).
//!
//! Nothing is drawn behind, and all colours are halfway between black and white, so that a light
//! page and a dark one both show them.

use std::collections::{BTreeMap, BTreeSet};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Row;
use crate::machine::{Limits, Machine};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

const INK: RGBColor = RGBColor(118, 118, 118);

/// For the ways in the order of their names; those that are more begin again, with squares.
const COLOURS: [RGBColor; 9] = [
    RGBColor(46, 134, 193),
    RGBColor(211, 84, 0),
    RGBColor(30, 150, 100),
    RGBColor(175, 90, 180),
    RGBColor(185, 130, 20),
    RGBColor(215, 70, 90),
    RGBColor(70, 145, 160),
    RGBColor(130, 120, 210),
    RGBColor(120, 150, 40),
];

/// What SVG calls a font without serifs.
const FONT: &str = "sans-serif";

/// The frame within the picture, and the lines of the list beside it.
const LEFT: i32 = 60;
const TOP: i32 = 28;
const WIDTH: i32 = 800;
const HEIGHT: i32 = 560;
const LINE: i32 = 16;
const LIST: i32 = 330;

/// A chart of the rows that have operations and bytes.
pub fn svg(machine: &Machine, rows: &[Row]) -> String {
    let points: Vec<_> = rows.iter().filter_map(Point::new).collect();
    let lines = names(&points).len() + marks(&points).len() + 3;
    let height = (TOP + HEIGHT + 50).max(TOP + LINE * lines as i32) as u32;
    let width = (LEFT + WIDTH + 20 + LIST) as u32;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
    let scale = Scale::new(machine, &points);
    draw(&area, machine, &points, &scale).expect("a string takes all shapes");
    drop(area);
    svg
}

/// A row in the chart.
struct Point<'a> {
    row: &'a Row,
    /// FLOP a byte.
    intensity: f64,
    gflops: f64,
}

impl<'a> Point<'a> {
    fn new(row: &'a Row) -> Option<Self> {
        // A GPU has a roof of its own.
        if row.case.threads == 0 {
            return None;
        }
        // Against the roof stands what is really done.
        let gflops = row.executed_gflops().or(row.gflops())?;
        let gbs = row.gbs()?;
        let intensity = gflops / gbs;
        Some(Self {
            row,
            intensity,
            gflops,
        })
    }

    /// What the number beside it stands for.
    fn name(&self) -> String {
        format!("{} {}", self.row.case.group, self.row.case.shape)
    }
}

/// The number of every kernel and shape, from 1.
fn names(points: &[Point]) -> Vec<String> {
    let mut names: Vec<String> = points.iter().map(Point::name).collect();
    // Rows of one name need not be neighbours.
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// How a way's points look.
#[derive(Clone, Copy)]
struct Mark {
    colour: RGBColor,
    square: bool,
}

impl Mark {
    fn draw(self, area: &Area, (x, y): (i32, i32), filled: bool) -> Outcome {
        let style = ShapeStyle {
            color: self.colour.into(),
            filled,
            stroke_width: 2,
        };
        if self.square {
            area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], style))?;
        } else {
            area.draw(&Circle::new((x, y), 4, style))?;
        }
        Ok(())
    }
}

fn marks<'a>(points: &[Point<'a>]) -> BTreeMap<&'a str, Mark> {
    let ways: BTreeSet<_> = (points.iter())
        .map(|point| point.row.case.way.as_str())
        .collect();
    let marks = [false, true]
        .into_iter()
        .flat_map(|square| COLOURS.map(|colour| Mark { colour, square }));
    ways.into_iter().zip(marks.cycle()).collect()
}

/// From logarithms to pixels.
struct Scale {
    /// The powers of ten at the left and right end.
    x: [f64; 2],
    /// Those at the lower and upper end.
    y: [f64; 2],
}

impl Scale {
    fn new(machine: &Machine, points: &[Point]) -> Self {
        let ridges = [machine.one, machine.all].map(|limits| limits.gflops / limits.gbs);
        let x = points.iter().map(|point| point.intensity).chain(ridges);
        let peaks = [machine.one.gflops, machine.all.gflops];
        let y = points.iter().map(|point| point.gflops).chain(peaks);
        Self {
            x: decades(x),
            y: decades(y),
        }
    }

    fn at(&self, intensity: f64, gflops: f64) -> (i32, i32) {
        let share = |value: f64, [low, high]: [f64; 2]| (value.log10() - low) / (high - low);
        let right = f64::from(WIDTH) * share(intensity, self.x);
        let up = f64::from(HEIGHT) * share(gflops, self.y);
        (
            LEFT + right.round() as i32,
            TOP + HEIGHT - up.round() as i32,
        )
    }
}

/// The powers of ten around `values`.
fn decades(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value.log10()), high.max(value.log10()))
    });
    [low.floor(), high.ceil()]
}

fn write(area: &Area, text: &str, at: (i32, i32), side: HPos, colour: RGBColor) -> Outcome {
    let style = TextStyle::from((FONT, 15)).color(&colour);
    area.draw_text(text, &style.pos(Pos::new(side, VPos::Center)), at)?;
    Ok(())
}

fn draw(area: &Area, machine: &Machine, points: &[Point], scale: &Scale) -> Outcome {
    axes(area, scale)?;
    let all = format!("{} threads", machine.threads);
    roof(area, scale, machine.one, "1 thread")?;
    if machine.threads > 1 {
        roof(area, scale, machine.all, &all)?;
    }
    let (names, marks) = (names(points), marks(points));
    let mut places = Places::default();
    for point in points {
        places.points.push(scale.at(point.intensity, point.gflops));
    }
    for point in points {
        let at = scale.at(point.intensity, point.gflops);
        let mark = marks[point.row.case.way.as_str()];
        mark.draw(area, at, point.row.case.threads == 1)?;
        let name = point.name();
        let number = 1 + names.iter().position(|other| *other == name).unwrap_or(0);
        write(
            area,
            &number.to_string(),
            places.label(at),
            HPos::Center,
            mark.colour,
        )?;
    }

    let left = LEFT + WIDTH + 20;
    let mut down = TOP + 5;
    for (way, mark) in &marks {
        mark.draw(area, (left + 4, down), true)?;
        write(area, way, (left + 16, down), HPos::Left, mark.colour)?;
        down += LINE;
    }
    let hollow = format!("Hollow: {all}. Filled: 1 thread.");
    write(area, &hollow, (left, down), HPos::Left, INK)?;
    down += 2 * LINE;
    for (index, name) in names.iter().enumerate() {
        let number = format!("{}", index + 1);
        write(area, &number, (left + 16, down), HPos::Right, INK)?;
        write(area, name, (left + 24, down), HPos::Left, INK)?;
        down += LINE;
    }
    area.present()?;
    Ok(())
}

/// A line and a number for every power of ten.
fn axes(area: &Area, scale: &Scale) -> Outcome {
    let faint = INK.mix(0.35).stroke_width(1);
    let powers = |[low, high]: [f64; 2]| (low as i32..=high as i32).map(|power| 10_f64.powi(power));
    for value in powers(scale.x) {
        let (x, _) = scale.at(value, 1.0);
        area.draw(&PathElement::new([(x, TOP), (x, TOP + HEIGHT)], faint))?;
        write(
            area,
            &value.to_string(),
            (x, TOP + HEIGHT + 14),
            HPos::Center,
            INK,
        )?;
    }
    for value in powers(scale.y) {
        let (_, y) = scale.at(1.0, value);
        area.draw(&PathElement::new([(LEFT, y), (LEFT + WIDTH, y)], faint))?;
        write(area, &value.to_string(), (LEFT - 6, y), HPos::Right, INK)?;
    }
    let below = (LEFT + WIDTH / 2, TOP + HEIGHT + 34);
    write(
        area,
        "FLOP for every byte of every tensor",
        below,
        HPos::Center,
        INK,
    )?;
    write(area, "GFLOP/s", (LEFT, TOP - 12), HPos::Center, INK)
}

/// Memory's slope, and the flat peak from where they meet.
fn roof(area: &Area, scale: &Scale, limits: Limits, threads: &str) -> Outcome {
    let ridge = limits.gflops / limits.gbs;
    // The slope begins where it enters the frame.
    let start = 10_f64
        .powf(scale.x[0])
        .max(10_f64.powf(scale.y[0]) / limits.gbs);
    let end = 10_f64.powf(scale.x[1]);
    let corners = [
        (start, start * limits.gbs),
        (ridge, limits.gflops),
        (end, limits.gflops),
    ];
    let corners = corners.map(|(intensity, gflops)| scale.at(intensity, gflops));
    area.draw(&PathElement::new(corners, INK.stroke_width(2)))?;
    let text = format!(
        "{threads}: {:.0} GFLOP/s, {:.0} GB/s",
        limits.gflops, limits.gbs
    );
    let (x, y) = corners[2];
    write(area, &text, (x - 4, y - 9), HPos::Right, INK)
}

/// What is taken, so that numbers do not cover each other.
#[derive(Default)]
struct Places {
    points: Vec<(i32, i32)>,
    labels: Vec<(i32, i32)>,
}

impl Places {
    /// Where to write beside `at`: the first free place on rings around it, else its right.
    fn label(&mut self, (x, y): (i32, i32)) -> (i32, i32) {
        let directions = [
            (1, 0),
            (-1, 0),
            (0, -1),
            (0, 1),
            (1, -1),
            (1, 1),
            (-1, -1),
            (-1, 1),
        ];
        let around = (1..4).flat_map(|ring| {
            directions.map(|(right, down)| (x + 13 * ring * right, y + 12 * ring * down))
        });
        let near = |taken: &[(i32, i32)], (x, y): (i32, i32), [width, height]: [i32; 2]| {
            let within = |&(a, b): &(i32, i32)| (a - x).abs() < width && (b - y).abs() < height;
            taken.iter().any(within)
        };
        let mut free = around.filter(|&place| {
            !near(&self.labels, place, [14, 11]) && !near(&self.points, place, [11, 9])
        });
        let place = free.next().unwrap_or((x + 13, y));
        self.labels.push(place);
        place
    }
}
