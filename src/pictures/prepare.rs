//! From a decoded picture to what a network reads, the way of PIL and torchvision.

use image::imageops::{FilterType, resize};
use image::{DynamicImage, GrayImage};

use super::PictureFault;
use crate::data::Images;

pub(super) fn prepare(
    picture: DynamicImage,
    [channels, height, width]: [usize; 3],
) -> Result<Images, PictureFault> {
    let planes = match channels {
        1 => vec![gray(&picture)],
        3 => {
            let rgb = picture.to_rgb8();
            let (width, height) = rgb.dimensions();
            let plane = |c: usize| {
                GrayImage::from_fn(width, height, |x, y| image::Luma([rgb.get_pixel(x, y)[c]]))
            };
            vec![plane(0), plane(1), plane(2)]
        }
        _ => return Err(PictureFault::Channels(channels)),
    };
    // A network's sides are far below 2^32: its image has at most MAX_ELEMENTS pixels.
    let bytes = planes
        .iter()
        .flat_map(|plane| bilinear(plane, width as u32, height as u32))
        .collect();
    Images::new([channels, height, width], bytes)
        .ok_or_else(|| PictureFault::Damaged("it has no pixel".to_owned()))
}

/// PIL's mode `L`: ITU-R 601-2 luma in 16-bit fixed point. Transparency is dropped; 16-bit gray
/// is cut off at 255, and other 16-bit pictures lose their low bytes, as PIL has it.
fn gray(picture: &DynamicImage) -> GrayImage {
    match picture {
        DynamicImage::ImageLuma8(gray) => gray.clone(),
        DynamicImage::ImageLuma16(gray) => {
            GrayImage::from_fn(gray.width(), gray.height(), |x, y| {
                image::Luma([gray.get_pixel(x, y)[0].min(255) as u8])
            })
        }
        DynamicImage::ImageLumaA16(gray) => {
            GrayImage::from_fn(gray.width(), gray.height(), |x, y| {
                image::Luma([(gray.get_pixel(x, y)[0] >> 8) as u8])
            })
        }
        DynamicImage::ImageLumaA8(gray) => {
            GrayImage::from_fn(gray.width(), gray.height(), |x, y| {
                image::Luma([gray.get_pixel(x, y)[0]])
            })
        }
        DynamicImage::ImageRgb16(rgb) => GrayImage::from_fn(rgb.width(), rgb.height(), |x, y| {
            luma(rgb.get_pixel(x, y).0.map(|level| level >> 8))
        }),
        DynamicImage::ImageRgba16(rgba) => {
            GrayImage::from_fn(rgba.width(), rgba.height(), |x, y| {
                let [r, g, b, _] = rgba.get_pixel(x, y).0;
                luma([r, g, b].map(|level| level >> 8))
            })
        }
        other => {
            let rgb = other.to_rgb8();
            GrayImage::from_fn(rgb.width(), rgb.height(), |x, y| {
                luma(rgb.get_pixel(x, y).0.map(u16::from))
            })
        }
    }
}

/// `0.299 R + 0.587 G + 0.114 B`, of levels up to 255.
fn luma(rgb: [u16; 3]) -> image::Luma<u8> {
    let [r, g, b] = rgb.map(u32::from);
    image::Luma([((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as u8])
}

/// Bilinear with antialiasing: a triangle as wide as the picture is reduced.
fn bilinear(gray: &GrayImage, width: u32, height: u32) -> Vec<u8> {
    resize(gray, width, height, FilterType::Triangle).into_raw()
}
