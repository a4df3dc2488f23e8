//! The letters in a PNG, and how wide they are.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, OutlinedGlyph, ScaleFont, point};
use epaint_default_fonts::UBUNTU_LIGHT;

use super::canvas::Point;

static FONT: LazyLock<FontRef> =
    LazyLock::new(|| FontRef::try_from_slice(UBUNTU_LIGHT).expect("the program's own font is one"));

/// How wide a line of text is, in units of its `size`: from the highest to the lowest of all letters. In an
/// SVG, about.
pub fn text_width(text: &str, size: f64) -> f64 {
    let (_, width) = outlines(text, [0.0; 2], size);
    width
}

/// The letters of a line of text that have ink, and how wide it is; it begins at `left` on the line at `down`.
pub fn outlines(text: &str, [left, down]: Point, size: f64) -> (Vec<OutlinedGlyph>, f64) {
    let font = FONT.as_scaled(size as f32);
    let mut letters = Vec::new();
    let (mut width, mut last) = (0.0, None);
    for letter in text.chars() {
        let mut glyph = font.scaled_glyph(letter);
        width += last.map_or(0.0, |last| font.kern(last, glyph.id));
        last = Some(glyph.id);
        glyph.position = point(left as f32 + width, down as f32);
        width += font.h_advance(glyph.id);
        letters.extend(font.outline_glyph(glyph));
    }
    (letters, f64::from(width))
}
