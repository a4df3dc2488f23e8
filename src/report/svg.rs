//! Shapes as an SVG.

use std::io;
use std::iter;

use image::Rgb;
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{Align, PictureError, Point, SCALE, Shape};

/// Plotters' steps for a pixel of a PNG: it counts in whole ones.
const FINER: u32 = 2;

/// What SVG calls a font without serifs.
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawingError = DrawingAreaErrorKind<io::Error>;

/// The shapes on white, in a picture of so many units.
pub fn svg(shapes: &[Shape], [width, height]: [u32; 2]) -> Result<String, PictureError> {
    let [across, down] = [width, height].map(|size| size * SCALE * FINER);
    let mut svg = String::new();
    let ground = Shape::Rectangle {
        corners: [[0.0; 2], [width, height].map(f64::from)],
        colour: WHITE,
    };
    let area = SVGBackend::with_string(&mut svg, (across, down)).into_drawing_area();
    let drawn = iter::once(&ground)
        .chain(shapes)
        .try_for_each(|shape| shape.draw(&area));
    // Plotters' errors bring along a type of every backend.
    drawn
        .and_then(|()| area.present())
        .map_err(|error| PictureError::Drawing(error.to_string().into()))?;
    drop(area);
    // A unit is several of plotters' steps, so the picture is shown that much smaller. Plotters knows no
    // joins: sharp ones would stick out of a curve's corners.
    let drawn = format!(r#"width="{across}" height="{down}""#);
    let shown = format!(r#"width="{width}" height="{height}" stroke-linejoin="round""#);
    Ok(svg.replacen(&drawn, &shown, 1))
}

impl Shape {
    fn draw(&self, area: &Area) -> Result<(), DrawingError> {
        match self {
            Shape::Path {
                points,
                colour,
                thickness,
                dash,
            } => {
                let points = points.iter().map(device).collect::<Vec<_>>();
                let style = colour.stroke_width(pixels(*thickness) as u32);
                match dash.map(|lengths| lengths.map(pixels)) {
                    None => area.draw(&PathElement::new(points, style)),
                    Some([dash, gap]) => {
                        area.draw(&DashedPathElement::new(points, dash, gap, style))
                    }
                }
            }
            Shape::Polygon { points, colour } => {
                let points = points.iter().map(device).collect::<Vec<_>>();
                area.draw(&Polygon::new(points, colour))
            }
            Shape::Rectangle { corners, colour } => area.draw(&Rectangle::new(
                corners.each_ref().map(device),
                colour.filled(),
            )),
            Shape::Circle {
                centre,
                radius,
                colour,
            } => area.draw(&Circle::new(
                device(centre),
                pixels(*radius),
                colour.filled(),
            )),
            Shape::Text {
                text,
                at: [x, y],
                size,
                colour,
                align,
            } => {
                let horizontal = match align {
                    Align::Left => HPos::Left,
                    Align::Centre => HPos::Center,
                    Align::Right => HPos::Right,
                };
                let style = TextStyle::from((FONT, pixels(*size)))
                    .color(colour)
                    .pos(Pos::new(horizontal, VPos::Center));
                // SVG centres small letters, than which digits are higher.
                let lower = device(&[*x, y + 0.08 * size]);
                area.draw_text(text, &style, lower)
            }
            // A square each: plotters has images only with an encoder of them.
            Shape::Pixels { corner, rgb } => {
                rgb.enumerate_pixels()
                    .try_for_each(|(x, y, &Rgb([red, green, blue]))| {
                        let corner = |x: u32, y: u32| {
                            let [left, top] = corner;
                            let side = f64::from(SCALE);
                            [left + f64::from(x) / side, top + f64::from(y) / side]
                        };
                        let pixel = Shape::Rectangle {
                            corners: [corner(x, y), corner(x + 1, y + 1)],
                            colour: RGBColor(red, green, blue),
                        };
                        pixel.draw(area)
                    })
            }
        }
    }
}

fn pixels(units: f64) -> i32 {
    (units * f64::from(SCALE * FINER)).round() as i32
}

fn device([x, y]: &Point) -> (i32, i32) {
    (pixels(*x), pixels(*y))
}
