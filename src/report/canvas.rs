//! Pictures: a list of shapes, drawn as SVG or PNG.

use std::error::Error;
use std::io::Cursor;
use std::iter;
use std::sync::{Mutex, PoisonError};
use std::thread;

use epaint_default_fonts::UBUNTU_LIGHT;
use image::imageops::{FilterType, resize};
use image::{ImageError, ImageFormat, RgbImage};
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use thiserror::Error;

/// Pixels of a PNG for a unit of the canvas, so that pictures are sharp on dense screens.
pub const SCALE: u32 = 2;

/// Plotters' pixels for one of a PNG's, across and down: it draws oblique lines without shades, and
/// the mean of several pixels has them.
const FINER: u32 = 2;

/// The most pixels of a PNG: twice what 4096 x 4096 has.
const MAX_PIXELS: f64 = (1 << 25) as f64;

/// What SVG calls a font without serifs; in a PNG it is the one inside the program.
const FONT: &str = "sans-serif";

/// Okabe's and Ito's colours, which colour-blind people tell apart.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
pub const VERMILION: RGBColor = RGBColor(213, 94, 0);
/// What is written, and what is written beside it.
pub const INK: RGBColor = RGBColor(34, 34, 34);
pub const GRAY: RGBColor = RGBColor(110, 110, 110);
/// Lines that guide the eye.
pub const FAINT: RGBColor = RGBColor(225, 225, 225);

/// Right and down from the upper left corner, in units of the canvas.
pub type Point = [f64; 2];

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum PictureError {
    #[error("a picture of {width:.0} x {height:.0} pixels is too large: show fewer images")]
    TooLarge { width: f64, height: f64 },
    #[error("an image of {bytes} bytes is not of {}x{}x{}", .shape[0], .shape[1], .shape[2])]
    Shape { shape: [usize; 3], bytes: usize },
    #[error("a picture cannot be drawn: {0}")]
    Drawing(Box<dyn Error + Send + Sync>),
    #[error("a picture cannot be written as PNG: {0}")]
    Encoding(#[from] ImageError),
}

/// A picture in both formats.
pub struct Picture {
    pub svg: String,
    pub png: Vec<u8>,
}

/// Which end of a text is where it is put.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Align {
    Left,
    Centre,
    Right,
}

enum Shape {
    Path {
        points: Vec<Point>,
        colour: RGBColor,
        thickness: f64,
        /// Lengths of a dash and of the gap after it, or a whole line.
        dash: Option<[f64; 2]>,
    },
    Polygon {
        points: Vec<Point>,
        colour: RGBColor,
    },
    Rectangle {
        corners: [Point; 2],
        colour: RGBColor,
    },
    Circle {
        centre: Point,
        radius: f64,
        colour: RGBColor,
    },
    Text {
        text: String,
        at: Point,
        size: f64,
        colour: RGBColor,
        align: Align,
    },
    Pixels {
        corner: Point,
        rgb: RgbImage,
    },
}

/// Shapes on a white ground, the later ones over the earlier.
pub struct Canvas {
    size: [f64; 2],
    shapes: Vec<Shape>,
    threads: usize,
}

impl Canvas {
    /// An empty canvas of `size`, width and height, that one thread draws.
    pub fn new(size: [f64; 2]) -> Self {
        Self {
            size,
            shapes: Vec::new(),
            threads: 1,
        }
    }

    /// Lets so many threads draw the PNG, but no more than there are cores.
    pub fn set_threads(&mut self, threads: usize) {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        self.threads = threads.min(cores);
    }

    /// A line through `points`; `dash` is the length of a dash and of the gap after it.
    pub fn path(
        &mut self,
        points: Vec<Point>,
        colour: RGBColor,
        thickness: f64,
        dash: Option<[f64; 2]>,
    ) {
        self.shapes.push(Shape::Path {
            points,
            colour,
            thickness,
            dash,
        });
    }

    pub fn line(&mut self, from: Point, to: Point, colour: RGBColor) {
        self.path(vec![from, to], colour, 1.0, None);
    }

    pub fn polygon(&mut self, points: Vec<Point>, colour: RGBColor) {
        self.shapes.push(Shape::Polygon { points, colour });
    }

    pub fn rectangle(&mut self, corners: [Point; 2], colour: RGBColor) {
        self.shapes.push(Shape::Rectangle { corners, colour });
    }

    pub fn circle(&mut self, centre: Point, radius: f64, colour: RGBColor) {
        self.shapes.push(Shape::Circle {
            centre,
            radius,
            colour,
        });
    }

    /// A line of text, its digits halfway above and below `at`.
    pub fn text(&mut self, text: &str, at: Point, size: f64, colour: RGBColor, align: Align) {
        self.shapes.push(Shape::Text {
            text: text.to_owned(),
            at,
            size,
            colour,
            align,
        });
    }

    /// An image, whose pixels are those of the PNG.
    pub fn pixels(&mut self, corner: Point, rgb: RgbImage) {
        self.shapes.push(Shape::Pixels { corner, rgb });
    }

    /// The shapes in both formats.
    pub fn picture(&self) -> Result<Picture, PictureError> {
        let (svg, png) = (self.svg()?, self.png()?);
        Ok(Picture { svg, png })
    }

    pub fn svg(&self) -> Result<String, PictureError> {
        let [width, height] = self.size()?;
        let [across, down] = [width, height].map(|size| size * SCALE * FINER);
        let mut svg = String::new();
        let ground = Shape::Rectangle {
            corners: [[0.0; 2], [width, height].map(f64::from)],
            colour: WHITE,
        };
        let backend = SVGBackend::with_string(&mut svg, (across, down));
        draw(iter::once(&ground).chain(&self.shapes), backend)?;
        // Plotters counts in whole pixels, of which a unit has several, so the picture is shown
        // that much smaller. It knows no joins: sharp ones would stick out of a curve's corners.
        let drawn = format!(r#"width="{across}" height="{down}""#);
        let shown = format!(r#"width="{width}" height="{height}" stroke-linejoin="round""#);
        Ok(svg.replacen(&drawn, &shown, 1))
    }

    pub fn png(&self) -> Result<Vec<u8>, PictureError> {
        let [width, height] = self.size()?.map(|size| size * SCALE);
        let [across, down] = [width, height].map(|size| size * FINER);
        let mut drawn = RgbImage::new(across, down);
        // To touch so much new memory takes longer than to draw.
        let bands = drawn.chunks_mut(1 << 16);
        shared_out(self.threads, bands, |band| band.fill(255));
        let backend = BitMapBackend::with_buffer(&mut drawn, (across, down));
        draw(&self.shapes, backend)?;
        let image = shrunk(&drawn, [width, height], self.threads);
        let mut png = Cursor::new(Vec::new());
        image.write_to(&mut png, ImageFormat::Png)?;
        Ok(png.into_inner())
    }

    /// Width and height in whole units.
    ///
    /// # Errors
    /// If that is too large for a PNG.
    pub fn size(&self) -> Result<[u32; 2], PictureError> {
        let [width, height] = self.size.map(|size| size.ceil() * f64::from(SCALE));
        if width.max(height) > f64::from(u16::MAX) || width * height > MAX_PIXELS {
            return Err(PictureError::TooLarge { width, height });
        }
        Ok(self.size.map(|size| size.ceil() as u32))
    }
}

fn draw<'s, B: DrawingBackend>(
    shapes: impl IntoIterator<Item = &'s Shape>,
    backend: B,
) -> Result<(), PictureError> {
    register();
    let area = backend.into_drawing_area();
    let mut shapes = shapes.into_iter();
    let drawn = shapes.try_for_each(|shape| shape.draw(&area));
    // Plotters' errors bring along a type of every backend.
    drawn
        .and_then(|()| area.present())
        .map_err(|error| PictureError::Drawing(error.to_string().into()))
}

impl Shape {
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
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
                // What plotters centres is higher than the digits are.
                let lower = device(&[*x, y + 0.15 * size]);
                area.draw_text(text, &style, lower)
            }
            Shape::Pixels { corner, rgb } => {
                let (width, height) = (rgb.width() * FINER, rgb.height() * FINER);
                let finer = resize(rgb, width, height, FilterType::Nearest);
                let element = BitMapElement::with_ref(device(corner), (width, height), &finer)
                    .expect("an RgbImage has three bytes a pixel");
                area.draw(&element)
            }
        }
    }
}

/// Does `work` with each of the bands of a picture on at most so many threads, the caller's among them.
fn shared_out<B>(threads: usize, bands: impl Iterator<Item = B> + Send, work: impl Fn(B) + Sync) {
    let bands = Mutex::new(bands);
    let next = || bands.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(band) = next() {
            work(band);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread is to be had, the others do its work.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

/// The mean of each block of [`FINER`] by [`FINER`] pixels.
fn shrunk(drawn: &RgbImage, [width, height]: [u32; 2], threads: usize) -> RgbImage {
    /// Rows of the image.
    const BAND: usize = 16;
    let (finer, row) = (FINER as usize, 3 * width as usize);
    let mut image = RgbImage::new(width, height);
    let bands = image.chunks_mut(row * BAND);
    let bands = bands.zip(drawn.chunks(row * BAND * finer * finer));
    shared_out(threads, bands, |(image, drawn)| {
        let mut sums = vec![0u16; row * finer];
        let rows = image.chunks_exact_mut(row);
        for (row, lines) in rows.zip(drawn.chunks_exact(row * finer * finer)) {
            // Down first, byte by byte, and then across.
            sums.fill(0);
            for line in lines.chunks_exact(sums.len()) {
                for (sum, &byte) in sums.iter_mut().zip(line) {
                    *sum += u16::from(byte);
                }
            }
            for (sums, pixel) in sums.chunks_exact(3 * finer).zip(row.chunks_exact_mut(3)) {
                for (colour, mean) in pixel.iter_mut().enumerate() {
                    let sum: u16 = sums.iter().skip(colour).step_by(3).sum();
                    *mean = (sum / (FINER * FINER) as u16) as u8;
                }
            }
        }
    });
    image
}

/// How wide a line of text is, in units of the canvas; in an SVG, about.
pub fn text_width(text: &str, size: f64) -> f64 {
    register();
    let style = TextStyle::from((FONT, pixels(size)));
    // The font is the program's own, so there is always a layout.
    let width = style
        .font
        .layout_box(text)
        .map_or(0, |(_, (width, _))| width);
    f64::from(width) / f64::from(SCALE * FINER)
}

/// Tells plotters of the font. It has no finer place for that than the whole process.
fn register() {
    // If it were not a font, drawing a text would say so.
    let _ = register_font(FONT, FontStyle::Normal, UBUNTU_LIGHT);
}

fn pixels(units: f64) -> i32 {
    (units * f64::from(SCALE * FINER)).round() as i32
}

fn device([x, y]: &Point) -> (i32, i32) {
    (pixels(*x), pixels(*y))
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_picture_is_white_where_nothing_is_drawn() {
        let mut canvas = Canvas::new([20.0, 10.0]);
        canvas.rectangle([[5.0, 2.0], [9.0, 6.0]], BLUE);
        let Picture { svg, png } = canvas.picture().unwrap();

        let image = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (40, 20));
        assert_eq!(*image.get_pixel(0, 0), Rgb([255; 3]));
        assert_eq!(*image.get_pixel(39, 19), Rgb([255; 3]));
        assert_eq!(*image.get_pixel(14, 8), Rgb([0, 114, 178]));

        assert!(svg.starts_with(r#"<svg width="20" height="10" "#), "{svg}");
        assert!(svg.contains(r#"viewBox="0 0 80 40""#), "{svg}");
        assert!(svg.contains("#FFFFFF") && svg.contains("#0072B2"), "{svg}");
    }

    #[test]
    fn every_number_of_threads_draws_the_same() {
        let mut canvas = Canvas::new([301.0, 203.0]);
        canvas.path(vec![[3.0, 5.0], [290.0, 190.0]], VERMILION, 2.0, None);
        let one = canvas.png().unwrap();
        for threads in [2, 3] {
            // As if there were cores for them.
            canvas.threads = threads;
            assert!(canvas.png().unwrap() == one, "{threads}");
        }
        canvas.set_threads(usize::MAX);
        assert!(canvas.png().unwrap() == one);
    }

    #[test]
    fn text_is_in_both_formats_where_it_belongs() {
        let mut canvas = Canvas::new([100.0, 40.0]);
        canvas.text("8 < 9", [50.0, 20.0], 20.0, INK, Align::Centre);
        let Picture { svg, png } = canvas.picture().unwrap();
        assert!(svg.contains("8 &lt; 9"), "{svg}");

        let image = image::load_from_memory(&png).unwrap().to_luma8();
        let dark = |(_, _, pixel): &(u32, u32, &image::Luma<u8>)| pixel.0[0] < 128;
        let rows = || image.enumerate_pixels().filter(dark).map(|(_, y, _)| y);
        let columns = || image.enumerate_pixels().filter(dark).map(|(x, _, _)| x);
        let middle = |from: Option<u32>, to: Option<u32>| (from.unwrap() + to.unwrap()) / 2;
        assert!((37..=43).contains(&middle(rows().min(), rows().max())));
        assert!((95..=105).contains(&middle(columns().min(), columns().max())));
        let width = f64::from(columns().max().unwrap() - columns().min().unwrap());
        // There is a little room before and after the ink.
        let beside = text_width("8 < 9", 20.0) - width / 2.0;
        assert!((0.0..6.0).contains(&beside), "{beside}");
    }

    #[test]
    fn a_picture_that_no_memory_holds_is_refused() {
        for size in [[1e9, 10.0], [20_000.0, 20_000.0], [f64::INFINITY, 1.0]] {
            let result = Canvas::new(size).picture();
            assert!(matches!(result, Err(PictureError::TooLarge { .. })));
        }
    }
}
