//! Pictures that people draw, read as the tutorial reads them: a PNG or JPEG is opened (`decode`)
//! and made gray and small (`prepare`). [`mod@import`] makes a training set of a folder of them.

mod decode;
pub mod import;
mod prepare;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use thiserror::Error;

pub use decode::{MAX_BYTES, MAX_DECODED, MAX_SIDE};

use crate::data::Images;

/// A picture that cannot be used: which one, and why.
#[derive(Debug, Error)]
#[error("{file}: {fault}")]
pub struct PictureError {
    /// The file's path, or what the caller named it.
    pub file: String,
    /// What is wrong with it.
    pub fault: PictureFault,
}

/// What can be wrong with a picture.
#[derive(Debug, Error)]
pub enum PictureFault {
    /// The operating system could not read it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// More than [`MAX_BYTES`] or [`MAX_SIDE`], or more than [`MAX_DECODED`] when it is decoded or half
    /// resized.
    #[error(
        "too large: a picture has at most {MAX_SIDE} pixels a side, {MAX_BYTES} bytes, and {MAX_DECODED} bytes when it is decoded and resized"
    )]
    TooLarge,
    /// Neither PNG nor JPEG.
    #[error("neither a PNG nor a JPEG picture")]
    Unknown,
    /// Damaged.
    #[error("the picture is damaged: {0}")]
    Damaged(String),
    /// The network reads neither gray nor coloured images.
    #[error(
        "the network reads images of {0} channels; pictures can be made into 1 (gray) or 3 (red, green, blue)"
    )]
    Channels(usize),
}

/// Reads the picture at `path` as an image of `shape` (C, H, W), as the tutorial does: gray as
/// PIL's mode `L` (or RGB, for three channels), resized bilinearly with antialiasing.
///
/// # Errors
/// With the path and the [`PictureFault`].
pub fn open(path: &Path, shape: [usize; 3]) -> Result<Images, PictureError> {
    let file = path.display().to_string();
    match File::open(path) {
        Ok(source) => read(&file, source, shape),
        Err(error) => Err(PictureError {
            file,
            fault: error.into(),
        }),
    }
}

/// Reads a picture from any source, which errors then call `file`; else as [`open`].
///
/// # Errors
/// With that name and the [`PictureFault`].
pub fn read(file: &str, source: impl Read, shape: [usize; 3]) -> Result<Images, PictureError> {
    decode::decode(source)
        .and_then(|picture| prepare::prepare(picture, shape))
        .map_err(|fault| PictureError {
            file: file.to_owned(),
            fault,
        })
}
