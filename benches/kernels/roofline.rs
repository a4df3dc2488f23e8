//! A roofline for every kernel: what it reaches, under what the machine allows (Williams, Waterman,
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

/// Panels side by side, the frame within one, and the room around it: for the numbers of its axes and
/// for its title.
const COLUMNS: usize = 3;
const WIDTH: i32 = 370;
const HEIGHT: i32 = 280;
const LEFT: i32 = 56;
const RIGHT: i32 = 18;
const TOP: i32 = 48;
const BOTTOM: i32 = 44;
const PANEL: i32 = LEFT + WIDTH + RIGHT;

/// The height of a line of text, and the room that a way has in the legend.
const LINE: i32 = 17;
const WAY: i32 = 190;

/// A chart of the rows that have operations and bytes, a panel for every kernel.
pub fn svg(machine: &Machine, rows: &[Row]) -> String {
    let points: Vec<_> = rows.iter().filter_map(Point::new).collect();
    let marks = marks(&points);
    let mut panels: Vec<Panel> = Vec::new();
    for point in points {
        let group = point.row.case.group;
        // Rows of one kernel need not be neighbours.
        match panels.iter_mut().find(|panel| panel.group() == group) {
            Some(panel) => panel.points.push(point),
            None => panels.push(Panel {
                points: vec![point],
            }),
        }
    }

    let width = PANEL * COLUMNS as i32;
    let across = (width - LEFT) / WAY;
    let legend = LINE * (2 + (marks.len() as i32 + across - 1) / across);
    let rows_of_panels = || panels.chunks(COLUMNS);
    let height = |row: &[Panel]| {
        let lines = row.iter().map(|panel| panel.shapes().len()).max();
        TOP + HEIGHT + BOTTOM + LINE * lines.unwrap_or(0) as i32
    };
    let whole = legend + rows_of_panels().map(height).sum::<i32>();

    let mut svg = String::new();
    let size = (width as u32, whole as u32);
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let draw = || -> Outcome {
        draw_legend(&area, machine, &marks, across)?;
        let mut down = legend;
        for row in rows_of_panels() {
            for (column, panel) in row.iter().enumerate() {
                let corner = (PANEL * column as i32 + LEFT, down + TOP);
                panel.draw(&area, machine, &marks, corner)?;
            }
            down += height(row);
        }
        area.present()?;
        Ok(())
    };
    draw().expect("a string takes all shapes");
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
}

/// The rows of one kernel.
struct Panel<'a> {
    points: Vec<Point<'a>>,
}

impl Panel<'_> {
    fn group(&self) -> &'static str {
        self.points[0].row.case.group
    }

    /// What the numbers beside the points stand for, from 1.
    fn shapes(&self) -> Vec<&str> {
        let mut shapes = Vec::new();
        for point in &self.points {
            let shape = point.row.case.shape.as_str();
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        shapes
    }

    /// Draws it, with the upper left corner of its frame at `corner`, and the list of its shapes below.
    fn draw(
        &self,
        area: &Area,
        machine: &Machine,
        marks: &BTreeMap<&str, Mark>,
        corner: (i32, i32),
    ) -> Outcome {
        let (left, top) = corner;
        let scale = Scale::new(machine, &self.points, corner);
        write(area, self.group(), (left, top - 30), HPos::Left, INK)?;
        axes(area, &scale)?;
        roof(area, &scale, machine.one)?;
        if machine.threads > 1 {
            roof(area, &scale, machine.all)?;
        }
        let shapes = self.shapes();
        let place = |point: &Point| scale.at(point.intensity, point.gflops);
        let mut places = Places {
            points: self.points.iter().map(place).collect(),
            labels: Vec::new(),
        };
        for point in &self.points {
            let (at, case) = (place(point), &point.row.case);
            let mark = marks[case.way.as_str()];
            mark.draw(area, at, case.threads == 1)?;
            let number = 1 + shapes
                .iter()
                .position(|shape| *shape == case.shape)
                .unwrap_or(0);
            let beside = places.label(at);
            write(area, &number.to_string(), beside, HPos::Center, mark.colour)?;
        }
        for (index, shape) in shapes.iter().enumerate() {
            let down = top + HEIGHT + BOTTOM + LINE * index as i32;
            let number = (index + 1).to_string();
            write(area, &number, (left + 16, down), HPos::Right, INK)?;
            write(area, shape, (left + 24, down), HPos::Left, INK)?;
        }
        Ok(())
    }
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
    /// The upper left corner of the frame.
    corner: (i32, i32),
    /// The powers of ten at the left and right end.
    x: [f64; 2],
    /// Those at the lower and upper end.
    y: [f64; 2],
}

impl Scale {
    fn new(machine: &Machine, points: &[Point], corner: (i32, i32)) -> Self {
        let ridges = [machine.one, machine.all].map(|limits| limits.gflops / limits.gbs);
        let x = points.iter().map(|point| point.intensity).chain(ridges);
        let peaks = [machine.one.gflops, machine.all.gflops];
        let y = points.iter().map(|point| point.gflops).chain(peaks);
        Self {
            corner,
            x: decades(x),
            y: decades(y),
        }
    }

    fn at(&self, intensity: f64, gflops: f64) -> (i32, i32) {
        let share = |value: f64, [low, high]: [f64; 2]| (value.log10() - low) / (high - low);
        let right = f64::from(WIDTH) * share(intensity, self.x);
        let up = f64::from(HEIGHT) * share(gflops, self.y);
        let (left, top) = self.corner;
        (
            left + right.round() as i32,
            top + HEIGHT - up.round() as i32,
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

/// The roofs, and what the ways look like, so many side by side.
fn draw_legend(
    area: &Area,
    machine: &Machine,
    marks: &BTreeMap<&str, Mark>,
    across: i32,
) -> Outcome {
    let told = |limits: Limits, threads: usize| {
        let s = if threads == 1 { "" } else { "s" };
        let Limits { gflops, gbs } = limits;
        format!("{threads} thread{s}: {gflops:.0} GFLOP/s, {gbs:.0} GB/s")
    };
    let mut text = format!(
        "Operations really executed. Roofs of {}",
        told(machine.one, 1)
    );
    if machine.threads > 1 {
        let all = told(machine.all, machine.threads);
        text += &format!(", and of {all}. Filled: 1 thread. Hollow: more.");
    }
    write(area, &text, (LEFT, LINE), HPos::Left, INK)?;
    for (index, (way, mark)) in marks.iter().enumerate() {
        let (right, down) = (index as i32 % across, index as i32 / across);
        let (x, y) = (LEFT + WAY * right, LINE * (2 + down));
        mark.draw(area, (x + 4, y), true)?;
        write(area, way, (x + 16, y), HPos::Left, mark.colour)?;
    }
    Ok(())
}

/// A line and a number for every power of ten.
fn axes(area: &Area, scale: &Scale) -> Outcome {
    let (left, top) = scale.corner;
    let (right, bottom) = (left + WIDTH, top + HEIGHT);
    let faint = INK.mix(0.35).stroke_width(1);
    let powers = |[low, high]: [f64; 2]| (low as i32..=high as i32).map(|power| 10_f64.powi(power));
    for value in powers(scale.x) {
        let (x, _) = scale.at(value, 1.0);
        area.draw(&PathElement::new([(x, top), (x, bottom)], faint))?;
        write(
            area,
            &value.to_string(),
            (x, bottom + 12),
            HPos::Center,
            INK,
        )?;
    }
    for value in powers(scale.y) {
        let (_, y) = scale.at(1.0, value);
        area.draw(&PathElement::new([(left, y), (right, y)], faint))?;
        write(area, &value.to_string(), (left - 6, y), HPos::Right, INK)?;
    }
    let below = (left + WIDTH / 2, bottom + 26);
    write(
        area,
        "FLOP for every byte of every tensor",
        below,
        HPos::Center,
        INK,
    )?;
    write(area, "GFLOP/s", (left, top - 12), HPos::Center, INK)
}

/// Memory's slope, and the flat peak from where they meet.
fn roof(area: &Area, scale: &Scale, limits: Limits) -> Outcome {
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
    Ok(())
}

/// What is taken, so that numbers do not cover each other.
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
