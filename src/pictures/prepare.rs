//! From a decoded picture to what a network reads, the way of PIL and torchvision.

use image::imageops::{FilterType, resize};
use image::{DynamicImage, GrayImage, ImageBuffer, Pixel};

use super::{MAX_DECODED, PictureFault};
use crate::data::Images;

pub(super) fn prepare(
    picture: DynamicImage,
    [channels, height, width]: [usize; 3],
) -> Result<Images, PictureFault> {
    // It is resized from top to bottom first, into four numbers of `f32` a pixel.
    if u64::from(picture.width()).saturating_mul(16 * height as u64) > MAX_DECODED {
        return Err(PictureFault::TooLarge);
    }
    let picture = eight_bits(picture);
    // A network's sides are far below 2^32: its image has at most MAX_ELEMENTS pixels.
    let small = |plane: GrayImage| bilinear(&plane, width as u32, height as u32);
    let bytes = match channels {
        1 => small(gray(picture)),
        3 => {
            let rgb = picture.into_rgb8();
            let (width, height) = rgb.dimensions();
            // One after the other, so that one is in memory.
            let plane = |c: usize| {
                GrayImage::from_fn(width, height, |x, y| image::Luma([rgb.get_pixel(x, y)[c]]))
            };
            (0..3).flat_map(|c| small(plane(c))).collect()
        }
        _ => return Err(PictureFault::Channels(channels)),
    };
    Images::new([channels, height, width], bytes)
        .ok_or_else(|| PictureFault::Damaged("it has no pixel".to_owned()))
}

/// One byte a level, as PIL has it: 16-bit gray is cut off at 255, and other 16-bit pictures lose
/// their low bytes.
fn eight_bits(picture: DynamicImage) -> DynamicImage {
    use DynamicImage::*;
    let high = |level| (level >> 8) as u8;
    match picture {
        ImageLuma16(gray) => ImageLuma8(map(&gray, |level| level.min(255) as u8)),
        ImageLumaA16(gray) => ImageLumaA8(map(&gray, high)),
        ImageRgb16(rgb) => ImageRgb8(map(&rgb, high)),
        ImageRgba16(rgba) => ImageRgba8(map(&rgba, high)),
        other => other,
    }
}

fn map<P: Pixel<Subpixel = u16>, Q: Pixel<Subpixel = u8>>(
    picture: &ImageBuffer<P, Vec<u16>>,
    level: impl Fn(u16) -> u8,
) -> ImageBuffer<Q, Vec<u8>> {
    let levels = picture.iter().map(|&from| level(from)).collect();
    ImageBuffer::from_raw(picture.width(), picture.height(), levels)
        .expect("as many levels a pixel as before")
}

/// PIL's mode `L`: ITU-R 601-2 luma in 16-bit fixed point. Transparency is dropped.
fn gray(picture: DynamicImage) -> GrayImage {
    if !picture.color().has_color() {
        return picture.into_luma8();
    }
    let rgb = picture.into_rgb8();
    GrayImage::from_fn(rgb.width(), rgb.height(), |x, y| {
        let [r, g, b] = rgb.get_pixel(x, y).0.map(u32::from);
        // 0.299 R + 0.587 G + 0.114 B
        image::Luma([((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as u8])
    })
}

/// Bilinear with antialiasing: a triangle as wide as the picture is reduced.
fn bilinear(gray: &GrayImage, width: u32, height: u32) -> Vec<u8> {
    resize(gray, width, height, FilterType::Triangle).into_raw()
}
