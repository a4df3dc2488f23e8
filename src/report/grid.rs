//! Images side by side, with what is said of each.

use image::imageops::thumbnail;
use image::{Rgb, RgbImage};

use super::canvas::{Align, Canvas, INK, PictureError, SCALE};
use super::font::text_width;

/// How large an image is shown, about.
const SIDE: f64 = 112.0;
const GAP: f64 = 16.0;
const TEXT: f64 = 15.0;
/// From line to line of a caption.
const LINE: f64 = 19.0;

/// An image and its caption.
pub struct Cell<'a> {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// `(C, H, W)`
    pub image: &'a [u8],
    /// One line or more.
    pub caption: String,
}

/// The images of `cells` as a PNG, `columns` in a row. One channel is gray, three are red, green
/// and blue; of any other number the first is shown.
pub fn grid(cells: &[Cell], columns: usize) -> Result<Vec<u8>, PictureError> {
    let sizes = cells.iter().map(Size::of).collect::<Result<Vec<_>, _>>()?;
    let captions = || cells.iter().map(|cell| cell.caption.lines());
    let largest = |axis: usize| {
        let pixels = sizes.iter().map(|size| size.shown[axis]).max().unwrap_or(0);
        f64::from(pixels) / f64::from(SCALE)
    };
    let widths = captions().flatten().map(|line| text_width(line, TEXT));
    let width = widths.fold(largest(0), f64::max).ceil();
    let height = largest(1);
    let lines = captions().map(Iterator::count).max().unwrap_or(0);
    let below = if lines == 0 {
        0.0
    } else {
        4.0 + LINE * lines as f64
    };

    let columns = columns.clamp(1, cells.len().max(1));
    let rows = cells.len().div_ceil(columns).max(1);
    let mut canvas = Canvas::new([
        GAP + columns as f64 * (width + GAP),
        GAP + rows as f64 * (height + below + GAP),
    ]);
    // Before any image is made as large as it is shown.
    canvas.size()?;
    for (index, (cell, size)) in cells.iter().zip(sizes).enumerate() {
        let image = size.draw(cell);
        let left = GAP + (index % columns) as f64 * (width + GAP);
        let top = GAP + (index / columns) as f64 * (height + below + GAP);
        let middle = left + width / 2.0;
        for (line, text) in cell.caption.lines().enumerate() {
            let down = top + height + 4.0 + LINE * (line as f64 + 0.5);
            canvas.text(text, [middle, down], TEXT, INK, Align::Centre);
        }
        let [across, down] =
            [image.width(), image.height()].map(|size| f64::from(size) / f64::from(SCALE));
        canvas.pixels([middle - across / 2.0, top + (height - down) / 2.0], image);
    }
    canvas.png()
}

/// How large an image is shown, in device pixels: every pixel of it a square of whole ones, so that
/// none is blurred; but one of more than twice the usual size is made that small.
struct Size {
    /// Device pixels of a pixel, along an axis.
    factor: usize,
    /// Width and height, before one that is too large is made smaller.
    whole: [u32; 2],
    /// Width and height.
    shown: [u32; 2],
}

impl Size {
    fn of(cell: &Cell) -> Result<Self, PictureError> {
        let Cell { shape, image, .. } = *cell;
        let [channels, height, width] = shape;
        let plane = height.checked_mul(width).filter(|&plane| plane > 0);
        let bytes = plane.and_then(|plane| plane.checked_mul(channels));
        if image.is_empty() || bytes != Some(image.len()) {
            let bytes = image.len();
            return Err(PictureError::Shape { shape, bytes });
        }
        let pixels = SIDE * f64::from(SCALE);
        let factor = (pixels / height.max(width) as f64).round().max(1.0) as usize;
        let [wide, high] = [width, height].map(|size| u32::try_from(size * factor));
        let (Ok(wide), Ok(high)) = (wide, high) else {
            let [width, height] = [width, height].map(|size| size as f64);
            return Err(PictureError::TooLarge { width, height });
        };
        let shrinking = (2.0 * pixels / f64::from(wide.max(high))).min(1.0);
        let shown = |size| (f64::from(size) * shrinking).round().max(1.0) as u32;
        Ok(Self {
            factor,
            whole: [wide, high],
            shown: [wide, high].map(shown),
        })
    }

    /// The image of this size.
    fn draw(&self, cell: &Cell) -> RgbImage {
        let ([channels, height, width], image) = (cell.shape, cell.image);
        let (plane, factor, [wide, high]) = (height * width, self.factor, self.whole);
        let rgb = RgbImage::from_fn(wide, high, |x, y| {
            let pixel = y as usize / factor * width + x as usize / factor;
            match channels {
                3 => Rgb([0, 1, 2].map(|channel| image[channel * plane + pixel])),
                _ => Rgb([image[pixel]; 3]),
            }
        });
        let [wide, high] = self.shown;
        match self.shown == self.whole {
            true => rgb,
            false => thumbnail(&rgb, wide, high),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(png: &[u8]) -> RgbImage {
        image::load_from_memory(png).unwrap().to_rgb8()
    }

    fn cell<'a>(shape: [usize; 3], image: &'a [u8], caption: &str) -> Cell<'a> {
        let caption = caption.to_owned();
        Cell {
            shape,
            image,
            caption,
        }
    }

    #[test]
    fn large_images_are_made_smaller() {
        let bytes = vec![200; 2000 * 1000];
        let image = read(&grid(&[cell([1, 1000, 2000], &bytes, "")], 1).unwrap());
        // 16 units on each side, of two pixels each.
        assert_eq!(image.dimensions(), (448 + 64, 224 + 64));
        assert_eq!(*image.get_pixel(256, 144), Rgb([200; 3]));
    }

    #[test]
    fn pixels_are_squares_in_their_colours() {
        // 112 units are 224 device pixels, 112 a pixel.
        let gray = [0, 50, 100, 150];
        let rgb = [255, 0, 0, 9, 0, 255, 0, 9, 0, 0, 255, 9];
        let cells = [
            cell([1, 2, 2], &gray, ""),
            cell([3, 2, 2], &rgb, ""),
            cell([2, 1, 2], &gray, ""),
        ];
        let image = read(&grid(&cells, 2).unwrap());
        assert_eq!(image.dimensions(), (32 + 2 * 256, 32 + 2 * 256));
        let at = |x, y| image.get_pixel(x, y).0;
        assert_eq!(
            [at(32, 32), at(143, 143), at(144, 32)],
            [[0; 3], [0; 3], [50; 3]]
        );
        assert_eq!([at(32, 144), at(255, 255)], [[100; 3], [150; 3]]);
        assert_eq!([at(31, 31), at(256, 255), at(400, 400)], [[255; 3]; 3]);
        assert_eq!([at(288, 32), at(400, 32)], [[255, 0, 0], [0, 255, 0]]);
        assert_eq!([at(288, 144), at(400, 144)], [[0, 0, 255], [9; 3]]);
        // Half as high as its cell, and in its middle.
        assert_eq!(
            [at(32, 343), at(32, 344), at(255, 455)],
            [[255; 3], [0; 3], [50; 3]]
        );
    }

    #[test]
    fn captions_have_room_below() {
        let bytes = [0; 784];
        let size =
            |caption| read(&grid(&[cell([1, 28, 28], &bytes, caption)], 6).unwrap()).dimensions();
        assert_eq!(size(""), (288, 288));
        assert_eq!(size("#12: 7"), (288, 334));
        assert_eq!(size("#247: 4, not 6\n99.9 %"), (288, 372));
        assert!(size("#123456789: 14, not 26").0 > 300);

        let image = read(&grid(&[cell([1, 28, 28], &bytes, "#12: 7")], 6).unwrap());
        let inked = |y: u32| (0..288).any(|x| image.get_pixel(x, y).0[0] < 128);
        assert!((264..300).any(inked) && !(300..334).any(inked));
    }

    #[test]
    fn large_images_are_not_reduced_and_no_images_are_a_picture() {
        let bytes = vec![7; 300 * 400];
        let image = read(&grid(&[cell([1, 300, 400], &bytes, "")], 6).unwrap());
        assert_eq!(image.dimensions(), (464, 364));
        assert_eq!(read(&grid(&[], 0).unwrap()).dimensions(), (64, 64));
    }

    #[test]
    fn more_images_than_a_picture_holds_are_refused() {
        let bytes = [0; 784];
        let cells: Vec<_> = (0..60_000).map(|_| cell([1, 28, 28], &bytes, "")).collect();
        let result = grid(&cells, 10);
        assert!(matches!(result, Err(PictureError::TooLarge { .. })));
    }

    #[test]
    fn an_image_of_another_shape_is_refused() {
        for shape in [[1, 2, 3], [0, 2, 2], [4, 0, 1], [usize::MAX, 2, 2]] {
            let result = grid(&[cell(shape, &[1, 2, 3, 4], "")], 1);
            assert!(
                matches!(result, Err(PictureError::Shape { .. })),
                "{shape:?}"
            );
        }
    }
}
