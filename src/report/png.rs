//! Shapes as a PNG.

use std::io::Cursor;

use ab_glyph::point;
use image::{ImageFormat, Rgb, RgbImage};
use plotters::style::RGBColor;
use tiny_skia::{
    Color, FillRule, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash,
    Transform,
};

use super::canvas::{Align, PictureError, Point, SCALE, Shape};
use super::font::{glyphs, outline};

/// Half the height of a digit, of the size of its font.
const HALF_A_DIGIT: f64 = 0.31;

/// The shapes on white, in a picture of so many units.
pub fn png(shapes: &[Shape], [width, height]: [u32; 2]) -> Result<Vec<u8>, PictureError> {
    let [across, down] = [width * SCALE, height * SCALE];
    let mut pixmap = Pixmap::new(across, down).ok_or(PictureError::TooLarge {
        width: across.into(),
        height: down.into(),
    })?;
    pixmap.fill(Color::WHITE);
    for shape in shapes {
        paint(shape, &mut pixmap);
    }
    // Nothing is transparent on white: three bytes of four, in their place, as new memory costs more.
    let mut bytes = pixmap.take();
    let pixels = bytes.len() / 4;
    for pixel in 0..pixels {
        bytes.copy_within(4 * pixel..4 * pixel + 3, 3 * pixel);
    }
    bytes.truncate(3 * pixels);
    let image = RgbImage::from_raw(across, down, bytes).expect("there are three bytes a pixel");
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

/// A line or an area with a corner that is no number, or too far out, has no place in a picture, and is left
/// out.
fn paint(shape: &Shape, pixmap: &mut Pixmap) {
    let scaled = Transform::from_scale(SCALE as f32, SCALE as f32);
    match shape {
        Shape::Path {
            points,
            colour,
            thickness,
            dash,
        } => {
            let stroke = Stroke {
                width: *thickness as f32,
                line_join: LineJoin::Round,
                dash: dash.and_then(|dash| StrokeDash::new(dash.map(|it| it as f32).into(), 0.0)),
                ..Stroke::default()
            };
            if let Some(path) = path(points, false) {
                pixmap.stroke_path(&path, &solid(*colour), &stroke, scaled, None);
            }
        }
        Shape::Polygon { points, colour } => {
            if let Some(path) = path(points, true) {
                pixmap.fill_path(&path, &solid(*colour), FillRule::Winding, scaled, None);
            }
        }
        Shape::Rectangle { corners, colour } => {
            let [[left, top], [right, bottom]] = corners.map(|corner| corner.map(|it| it as f32));
            // Whole pixels, so that nothing shines through between two that touch.
            let paint = Paint {
                anti_alias: false,
                ..solid(*colour)
            };
            if let Some(rect) = Rect::from_ltrb(left, top, right, bottom) {
                pixmap.fill_rect(rect, &paint, scaled, None);
            }
        }
        Shape::Circle {
            centre,
            radius,
            colour,
        } => {
            let [x, y] = centre.map(|it| it as f32);
            if let Some(path) = PathBuilder::from_circle(x, y, *radius as f32) {
                pixmap.fill_path(&path, &solid(*colour), FillRule::Winding, scaled, None);
            }
        }
        Shape::Text {
            text,
            at: [x, y],
            size,
            colour,
            align,
        } => {
            let scale = f64::from(SCALE);
            let (glyphs, width) = glyphs(text, size * scale);
            let before = match align {
                Align::Left => 0.0,
                Align::Centre => width / 2.0,
                Align::Right => width,
            };
            let [left, line] = [x * scale - before, (y + HALF_A_DIGIT * size) * scale];
            for mut glyph in glyphs {
                glyph.position += point(left as f32, line as f32);
                let Some(letter) = outline(glyph) else {
                    continue;
                };
                let corner = letter.px_bounds().min;
                letter.draw(|x, y, share| {
                    let place = [(corner.x, x), (corner.y, y)]
                        .map(|(corner, pixel)| (corner as i64).saturating_add(pixel.into()));
                    shade(pixmap, place, *colour, share);
                });
            }
        }
        Shape::Pixels { corner, rgb } => {
            let [left, top] = corner.map(|it| (it * f64::from(SCALE)).round() as i64);
            for (x, y, &Rgb([r, g, b])) in rgb.enumerate_pixels() {
                let place = [(left, x), (top, y)]
                    .map(|(corner, pixel)| corner.saturating_add(pixel.into()));
                shade(pixmap, place, RGBColor(r, g, b), 1.0);
            }
        }
    }
}

fn path(points: &[Point], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (index, point) in points.iter().enumerate() {
        let [x, y] = point.map(|it| it as f32);
        match index {
            0 => path.move_to(x, y),
            _ => path.line_to(x, y),
        }
    }
    if closed {
        path.close();
    }
    path.finish()
}

fn solid(RGBColor(red, green, blue): RGBColor) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint
}

/// Puts a share of a colour over what a pixel is, if there is such a pixel.
fn shade(pixmap: &mut Pixmap, [x, y]: [i64; 2], RGBColor(red, green, blue): RGBColor, share: f32) {
    let (width, height) = (i64::from(pixmap.width()), i64::from(pixmap.height()));
    if !(0..width).contains(&x) || !(0..height).contains(&y) {
        return;
    }
    let first = 4 * (y * width + x) as usize;
    for (byte, colour) in pixmap.data_mut()[first..]
        .iter_mut()
        .zip([red, green, blue])
    {
        let [under, over] = [*byte, colour].map(f32::from);
        *byte = (under + (over - under) * share.clamp(0.0, 1.0)).round() as u8;
    }
}
