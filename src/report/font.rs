//! The letters in a PNG, and how wide they are.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, Glyph, OutlinedGlyph, ScaleFont};
use epaint_default_fonts::UBUNTU_LIGHT;

static FONT: LazyLock<FontRef> =
    LazyLock::new(|| FontRef::try_from_slice(UBUNTU_LIGHT).expect("the program's own font is one"));

/// How wide a line of text is, in the unit of `size`, the height from the highest to the lowest letter; in an
/// SVG, about.
pub fn text_width(text: &str, size: f64) -> f64 {
    let (_, width) = glyphs(text, size);
    width
}

/// The letters of a line of text, which begins at 0 on the line at 0, and how wide it is.
pub fn glyphs(text: &str, size: f64) -> (Vec<Glyph>, f64) {
    let font = FONT.as_scaled(size as f32);
    let (mut width, mut last) = (0.0, None);
    let glyphs = text.chars().map(|letter| {
        let mut glyph = font.scaled_glyph(letter);
        width += last.map_or(0.0, |last| font.kern(last, glyph.id));
        last = Some(glyph.id);
        glyph.position.x = width;
        width += font.h_advance(glyph.id);
        glyph
    });
    (glyphs.collect(), f64::from(width))
}

/// What a letter covers, if it has ink.
pub fn outline(glyph: Glyph) -> Option<OutlinedGlyph> {
    FONT.outline_glyph(glyph)
}
