//! Pictures become what PIL makes of them, and what is no picture is refused by name.
//! `scripts/pytorch_fixtures.py` drew the pictures and wrote down what PIL makes of them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use flate2::Crc;
use longhand::pictures::{PictureError, PictureFault, open, read};
use safetensors::SafeTensors;

const GRAY: [usize; 3] = [1, 28, 28];
const COLOUR: [usize; 3] = [3, 28, 28];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn picture(name: &str) -> PathBuf {
    fixtures().join("pictures").join(name)
}

/// Holds every picture, read as an image of `shape`, against PIL's tensor of its name and
/// `ending`; `levels` says how many gray levels a pixel may differ.
fn every_picture_is_pils(shape: [usize; 3], ending: &str, levels: impl Fn(&str) -> u8) {
    let expected = fs::read(fixtures().join("pictures.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(picture("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let image = open(&path, shape).unwrap();
        let pil = expected.tensor(&format!("{name}{ending}")).unwrap();
        assert_eq!(image.bytes().len(), pil.data().len(), "{name}");
        let pixels = image.bytes().iter().zip(pil.data());
        let largest = pixels.map(|(a, &b)| a.abs_diff(b)).max().unwrap();
        if largest > levels(name) {
            wrong.push(format!("{name}: largest difference {largest}"));
        }
    }
    assert!(wrong.is_empty(), "unlike PIL's:\n{}", wrong.join("\n"));
}

/// A few bytes of a picture, and a network as high as nobody needs.
#[test]
fn a_picture_that_would_take_gigabytes_to_resize_is_refused() {
    let mut png = Vec::new();
    let wide = image::GrayImage::new(16_384, 1);
    wide.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
        .unwrap();
    assert!(read("wide.png", &png[..], [1, 1024, 2]).is_ok());
    for height in [1025, 1_000_000, usize::MAX >> 8] {
        let error = read("wide.png", &png[..], [1, height, 1]).unwrap_err();
        assert!(matches!(error.fault, PictureFault::TooLarge), "{error}");
    }
}

#[test]
fn every_picture_in_gray_is_pils() {
    every_picture_is_pils(GRAY, "", |_| 2);
}

#[test]
fn every_picture_in_colour_is_pils() {
    // Where a JPEG stores colour at half the size, decoders enlarge it in different ways.
    every_picture_is_pils(
        COLOUR,
        ".rgb",
        |name| {
            if name.ends_with(".jpg") { 6 } else { 2 }
        },
    );
}

fn fault(bytes: &[u8], shape: [usize; 3]) -> PictureFault {
    let error = read("drawn.png", bytes, shape).unwrap_err();
    assert!(error.to_string().starts_with("drawn.png: "), "{error}");
    error.fault
}

#[test]
fn what_is_neither_png_nor_jpeg_is_unknown() {
    let gif = b"GIF89a\x01\0\x01\0\0\0\0;";
    for bytes in [&b""[..], b"P", b"a letter, not a picture", gif] {
        let fault = fault(bytes, GRAY);
        assert!(matches!(fault, PictureFault::Unknown), "{fault}");
    }
}

#[test]
fn a_picture_cut_off_anywhere_is_refused() {
    for name in ["gray.png", "palette.png", "gray.jpg", "progressive.jpg"] {
        let bytes = fs::read(picture(name)).unwrap();
        // A PNG's last four bytes only check the mark that it ends.
        let needed = bytes.len() - if name.ends_with(".png") { 4 } else { 0 };
        for length in 0..needed {
            let fault = fault(&bytes[..length], GRAY);
            let refused = matches!(fault, PictureFault::Damaged(_) | PictureFault::Unknown);
            assert!(refused, "{name}, {length} bytes: {fault}");
        }
    }
}

#[test]
fn a_jpeg_cut_off_behind_its_thumbnail_is_damaged() {
    let whole = fs::read(picture("rgb.jpg")).unwrap();
    let thumbnail = fs::read(picture("gray.jpg")).unwrap();
    let length = (thumbnail.len() + 2) as u16;
    let segment = [&[0xff, 0xe1], &length.to_be_bytes()[..], &thumbnail].concat();
    let photograph = [&whole[..2], &segment, &whole[2..]].concat();
    assert!(read("photograph", &photograph[..], GRAY).is_ok());
    let fault = fault(&photograph[..photograph.len() - 100], GRAY);
    assert!(matches!(fault, PictureFault::Damaged(_)), "{fault}");
}

#[test]
fn a_png_with_a_changed_byte_is_damaged() {
    let mut bytes = fs::read(picture("gray.png")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let fault = fault(&bytes, GRAY);
    assert!(matches!(fault, PictureFault::Damaged(_)), "{fault}");
}

#[test]
fn a_missing_file_is_named() {
    let path = picture("no_such_picture.png");
    let PictureError { file, fault } = open(&path, GRAY).unwrap_err();
    assert_eq!(file, path.display().to_string());
    let PictureFault::Io(error) = fault else {
        panic!("{fault}");
    };
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_png_too_large_by_its_header_is_refused() {
    // The first chunk with its check, and the beginning of the next.
    let header = b"\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\0\0\0\0";
    let mut crc = Crc::new();
    crc.update(&header[4..]);
    let png = [
        b"\x89PNG\r\n\x1a\n",
        &header[..],
        &crc.sum().to_be_bytes(),
        b"\0\0\0\x01IDAT",
    ]
    .concat();
    let fault = fault(&png, GRAY);
    assert!(matches!(fault, PictureFault::TooLarge), "{fault}");
}

#[test]
fn a_file_of_too_many_bytes_is_refused() {
    let endless = std::io::repeat(0);
    let error = read("endless", endless, GRAY).unwrap_err();
    assert!(matches!(error.fault, PictureFault::TooLarge), "{error}");
}

#[test]
fn a_network_of_neither_one_nor_three_channels_reads_no_picture() {
    let bytes = fs::read(picture("gray.png")).unwrap();
    for channels in [2, 4] {
        let fault = fault(&bytes, [channels, 28, 28]);
        assert!(
            matches!(fault, PictureFault::Channels(c) if c == channels),
            "{fault}"
        );
    }
}
