//! Pictures: a list of shapes, drawn as SVG or PNG.

use std::error::Error;

use image::{ImageError, RgbImage};
use plotters::style::RGBColor;
use thiserror::Error;

use super::{png, svg};

/// Pixels of a PNG for a unit of the canvas, so that pictures are sharp on dense screens.
pub const SCALE: u32 = 2;

/// The most pixels of a PNG: twice what 4096 x 4096 has.
const MAX_PIXELS: f64 = (1 << 25) as f64;

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

/// What a canvas holds; lengths are in its units.
pub enum Shape {
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
}

impl Canvas {
    /// An empty canvas of `size`, width and height.
    pub fn new(size: [f64; 2]) -> Self {
        Self {
            size,
            shapes: Vec::new(),
        }
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
        svg::svg(&self.shapes, self.size()?)
    }

    pub fn png(&self) -> Result<Vec<u8>, PictureError> {
        png::png(&self.shapes, self.size()?)
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

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::report::font::text_width;

    #[test]
    fn a_picture_is_white_where_nothing_is_drawn() {
        let mut canvas = Canvas::new([20.0, 10.0]);
        canvas.rectangle([[5.0, 2.0], [9.0, 6.0]], BLUE);
        let Picture { svg, png } = canvas.picture().unwrap();

        let image = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (40, 20));
        assert_eq!(*image.get_pixel(0, 0), Rgb([255; 3]));
        assert_eq!(*image.get_pixel(39, 19), Rgb([255; 3]));
        // Two pixels a unit, half-open.
        for (x, y, &pixel) in image.enumerate_pixels() {
            let inside = (10..18).contains(&x) && (4..12).contains(&y);
            let expected = if inside { [0, 114, 178] } else { [255; 3] };
            assert_eq!(pixel, Rgb(expected), "{x}, {y}");
        }

        assert!(svg.starts_with(r#"<svg width="20" height="10" "#), "{svg}");
        assert!(svg.contains(r#"viewBox="0 0 80 40""#), "{svg}");
        assert!(svg.contains("#FFFFFF") && svg.contains("#0072B2"), "{svg}");
    }

    #[test]
    fn an_image_has_a_pixel_of_the_png_for_each_of_its_own() {
        let mut canvas = Canvas::new([4.0, 3.0]);
        let rgb = RgbImage::from_fn(3, 2, |x, y| Rgb([40 * x as u8, 100 * y as u8, 7]));
        canvas.pixels([1.0, 0.5], rgb.clone());
        // Out of the picture, wholly and in part.
        canvas.pixels([-1.0, -9.0], rgb.clone());
        canvas.pixels([3.5, 2.5], rgb);
        let Picture { svg, png } = canvas.picture().unwrap();
        let image = image::load_from_memory(&png).unwrap().to_rgb8();
        for (x, y, &pixel) in image.enumerate_pixels() {
            let expected = match (x, y) {
                (2..5, 1..3) => [40 * (x as u8 - 2), 100 * (y as u8 - 1), 7],
                (7, 5) => [0, 0, 7],
                _ => [255; 3],
            };
            assert_eq!(pixel, Rgb(expected), "{x}, {y}");
        }
        let last = r##"<rect x="8" y="4" width="2" height="2" opacity="1" fill="#506407""##;
        assert!(svg.contains(last), "{svg}");
    }

    #[test]
    fn dashes_have_gaps() {
        let mut canvas = Canvas::new([40.0, 10.0]);
        canvas.path(vec![[0.0, 5.0], [40.0, 5.0]], BLUE, 2.0, Some([6.0, 4.0]));
        let image = image::load_from_memory(&canvas.png().unwrap()).unwrap();
        let image = image.to_rgb8();
        for x in 0..80 {
            let expected = if x % 20 < 12 { [0, 114, 178] } else { [255; 3] };
            assert_eq!(*image.get_pixel(x, 10), Rgb(expected), "{x}");
        }
    }

    #[test]
    fn text_begins_or_ends_where_it_is_put_and_may_be_out_of_the_picture() {
        let ink = |align, at: Point| {
            let mut canvas = Canvas::new([100.0, 40.0]);
            canvas.text("mm", at, 20.0, INK, align);
            let image = image::load_from_memory(&canvas.png().unwrap()).unwrap();
            let image = image.to_luma8();
            let dark = image
                .enumerate_pixels()
                .filter(|(.., pixel)| pixel.0[0] < 128);
            let columns: Vec<_> = dark.map(|(x, ..)| f64::from(x) / 2.0).collect();
            let first = columns.iter().copied().fold(f64::INFINITY, f64::min);
            let last = columns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (columns.len(), [first, last])
        };
        let width = text_width("mm", 20.0);
        let (pixels, [first, last]) = ink(Align::Left, [50.0, 20.0]);
        assert!((50.0..53.0).contains(&first), "{first}");
        assert!((47.0 + width..50.0 + width).contains(&last), "{last}");
        for (align, shift) in [(Align::Centre, width / 2.0), (Align::Right, width)] {
            let (_, [other, _]) = ink(align, [50.0, 20.0]);
            assert!((first - other - shift).abs() <= 1.0, "{align:?}: {other}");
        }
        let (part, _) = ink(Align::Centre, [0.0, 40.0]);
        assert!(0 < part && part < pixels / 2, "{part} of {pixels}");
        for at in [[f64::NAN, -1e300], [1e300, 20.0], [f64::INFINITY; 2]] {
            assert_eq!(ink(Align::Left, at).0, 0);
        }
    }

    #[test]
    fn oblique_lines_have_shades() {
        let mut canvas = Canvas::new([20.0, 10.0]);
        canvas.path(vec![[2.0, 2.0], [18.0, 7.0]], BLUE, 2.0, None);
        let image = image::load_from_memory(&canvas.png().unwrap()).unwrap();
        let image = image.to_rgb8();
        let [whole, none] = [Rgb([0, 114, 178]), Rgb([255; 3])];
        let is = |of: &Rgb<u8>| image.pixels().filter(|&pixel| pixel == of).count();
        // 16.8 long and 2 wide, of four pixels each.
        assert!((60..134).contains(&is(&whole)), "{}", is(&whole));
        let shades = image.pixels().len() - is(&whole) - is(&none);
        assert!((40..120).contains(&shades), "{shades}");
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
