//! PNG and JPEG, by their content, within limits.

use std::io::{Cursor, Read};

use image::{DynamicImage, ImageError, ImageFormat, ImageReader, Limits};

use super::PictureFault;

/// The largest file that is read: 64 MiB.
pub const MAX_BYTES: u64 = 1 << 26;

/// The most pixels of a side.
pub const MAX_SIDE: u32 = 16_384;

/// The most bytes that a picture may have when it is decoded: 256 MiB, which is 89 million pixels of
/// three bytes. A small file can promise any number, so its header is asked first.
pub const MAX_DECODED: u64 = 1 << 28;

pub(super) fn decode(source: impl Read) -> Result<DynamicImage, PictureFault> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(PictureFault::TooLarge);
    }
    let format = image::guess_format(&bytes).map_err(|_| PictureFault::Unknown)?;
    if !matches!(format, ImageFormat::Png | ImageFormat::Jpeg) {
        return Err(PictureFault::Unknown);
    }
    if format == ImageFormat::Jpeg && !ends(&bytes) {
        return Err(PictureFault::Damaged("it ends too early".to_owned()));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    reader.decode().map_err(|error| match error {
        ImageError::Limits(_) => PictureFault::TooLarge,
        error => PictureFault::Damaged(error.to_string()),
    })
}

/// Whether a JPEG has its end marker, without which the decoder would fill the rest with gray. What is
/// missing before that marker it fills, too.
fn ends(jpeg: &[u8]) -> bool {
    // A thumbnail, with an end of its own, may lie in a segment before the first scan.
    let mut rest = jpeg.get(2..).unwrap_or_default();
    loop {
        let skip = match *rest {
            [] => return false,
            [0xff, 0xda, ..] => return rest.windows(2).any(|marker| marker == [0xff, 0xd9]),
            // A marker may have bytes 0xff before it.
            [0xff, kind, high, low, ..] if kind != 0xff => {
                2 + usize::from(u16::from_be_bytes([high, low]))
            }
            _ => 1,
        };
        rest = rest.get(skip..).unwrap_or_default();
    }
}
