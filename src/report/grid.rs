//! Labelled images side by side, as a PNG.

use std::io::Cursor;

use image::{ImageError, ImageFormat, Rgb, RgbImage};

/// One image of a grid.
pub struct Cell {
    /// The shape (C, H, W), and the pixels.
    pub image: ([usize; 3], Vec<u8>),
    /// What stands above it.
    #[allow(dead_code, reason = "to be written above the image")]
    pub label: String,
}

/// A PNG of `cells`, so many `columns` in a row.
///
/// # Errors
/// If the picture would be too large.
pub fn grid(cells: &[Cell], columns: usize) -> Result<Vec<u8>, ImageError> {
    const GAP: usize = 2;
    let side = |axis: usize| cells.iter().map(|cell| cell.image.0[axis]).max();
    let height = side(1).unwrap_or(0) + GAP;
    let width = side(2).unwrap_or(0) + GAP;
    let rows = cells.len().div_ceil(columns);
    let mut picture = RgbImage::new((columns * width) as u32, (rows * height) as u32);
    for (place, cell) in cells.iter().enumerate() {
        let ([channels, h, w], bytes) = &cell.image;
        for y in 0..*h {
            for x in 0..*w {
                let at = |c: usize| bytes[(c.min(channels - 1) * h + y) * w + x];
                let column = place % columns * width + x;
                let row = place / columns * height + y;
                picture.put_pixel(column as u32, row as u32, Rgb([0, 1, 2].map(at)));
            }
        }
    }
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}
