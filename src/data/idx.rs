//! The IDX file format of MNIST, whole: every element type, 1 to 8 dimensions, plain or gzipped.
//!
//! | offset | what |
//! |---|---|
//! | 0 | two zero bytes |
//! | 2 | the element type: 08 `u8`, 09 `i8`, 0B `i16`, 0C `i32`, 0D `f32`, 0E `f64` |
//! | 3 | the number of dimensions, D |
//! | 4 | D sizes, each a big-endian `u32` |
//! | 4 + 4D | the elements, big-endian, the last dimension fastest |
//!
//! Source: Yann LeCun's page on MNIST. Sizes above 2^31 are read as unsigned.
//!
//! Nothing that a header says is believed: memory grows with the bytes that arrive, never with
//! the bytes that were promised, and a file that holds less or more than it promised is an error.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use byteorder::{BigEndian, ByteOrder, WriteBytesExt};
use flate2::read::MultiGzDecoder;
use thiserror::Error;

/// The most bytes of elements that one file may hold: 4 GiB.
pub const MAX_BYTES: u64 = 1 << 32;

/// The most dimensions that one file may have.
pub const MAX_DIMENSIONS: usize = 8;

/// An IDX file that cannot be read or written: which one, where, and why.
#[derive(Debug, Error)]
#[error("{file}: byte {offset}: {fault}")]
pub struct IdxError {
    /// The file's path, or what the caller named it.
    pub file: String,
    /// Where in the file, after gzip is undone.
    pub offset: u64,
    /// What is wrong there.
    pub fault: IdxFault,
}

/// What can be wrong with an IDX file.
#[derive(Debug, Error)]
pub enum IdxFault {
    /// The operating system could not read or write.
    #[error("{0}")]
    Io(io::Error),
    /// The first two bytes are not zero.
    #[error("an IDX file begins with two zero bytes, this one with {0:02x} {1:02x}")]
    Magic(u8, u8),
    /// The third byte names no element type.
    #[error("element type {0:#04x} is none of 08, 09, 0B, 0C, 0D, 0E")]
    ElementType(u8),
    /// The fourth byte is not 1 to 8.
    #[error("{0} dimensions; an IDX file has 1 to {MAX_DIMENSIONS}")]
    Dimensions(usize),
    /// The file ends inside its header.
    #[error("the file ends inside its header")]
    HeaderCut,
    /// The sizes multiply to more than [`MAX_BYTES`].
    #[error("sizes {0:?} promise more than {MAX_BYTES} bytes of elements")]
    TooLarge(Vec<usize>),
    /// Fewer bytes than the header promised.
    #[error(
        "the file ends after {found} of the {promised} bytes of elements that its header promises"
    )]
    TooShort {
        /// What the header promised, in bytes of elements.
        promised: u64,
        /// What the file holds.
        found: u64,
    },
    /// More bytes than the header promised.
    #[error("the file goes on after the {promised} bytes of elements that its header promises")]
    TooLong {
        /// What the header promised, in bytes of elements.
        promised: u64,
    },
    /// The gzip stream ends too early.
    #[error("the gzip stream is cut short")]
    GzipCut,
    /// The gzip stream is damaged.
    #[error("the gzip stream is damaged: {0}")]
    GzipCorrupt(String),
    /// To be written: sizes and elements do not belong together.
    #[error("sizes {sizes:?} do not describe {elements} elements")]
    Shape {
        /// The sizes of the dimensions.
        sizes: Vec<usize>,
        /// The number of elements.
        elements: usize,
    },
}

/// The elements of an IDX file, of any of its six types.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Type 08, which may be those of a file inside the program.
    U8(Cow<'static, [u8]>),
    /// Type 09.
    I8(Vec<i8>),
    /// Type 0B.
    I16(Vec<i16>),
    /// Type 0C.
    I32(Vec<i32>),
    /// Type 0D.
    F32(Vec<f32>),
    /// Type 0E.
    F64(Vec<f64>),
}

impl Elements {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Elements::U8(elements) => elements.len(),
            Elements::I8(elements) => elements.len(),
            Elements::I16(elements) => elements.len(),
            Elements::I32(elements) => elements.len(),
            Elements::F32(elements) => elements.len(),
            Elements::F64(elements) => elements.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type's code in the header.
    pub fn code(&self) -> u8 {
        match self {
            Elements::U8(_) => 0x08,
            Elements::I8(_) => 0x09,
            Elements::I16(_) => 0x0B,
            Elements::I32(_) => 0x0C,
            Elements::F32(_) => 0x0D,
            Elements::F64(_) => 0x0E,
        }
    }

    /// The bytes of one element of type `code`, if there is such a type.
    fn width(code: u8) -> Option<usize> {
        match code {
            0x08 | 0x09 => Some(1),
            0x0B => Some(2),
            0x0C | 0x0D => Some(4),
            0x0E => Some(8),
            _ => None,
        }
    }

    /// Elements of type `code`, which has a width, from their big-endian bytes.
    fn from_bytes(code: u8, bytes: Vec<u8>) -> Self {
        match code {
            0x08 => Elements::U8(Cow::Owned(bytes)),
            0x09 => Elements::I8(bytes.into_iter().map(|byte| byte as i8).collect()),
            0x0B => Elements::I16(bytes.chunks_exact(2).map(BigEndian::read_i16).collect()),
            0x0C => Elements::I32(bytes.chunks_exact(4).map(BigEndian::read_i32).collect()),
            0x0D => Elements::F32(bytes.chunks_exact(4).map(BigEndian::read_f32).collect()),
            _ => Elements::F64(bytes.chunks_exact(8).map(BigEndian::read_f64).collect()),
        }
    }

    fn write(&self, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
        match self {
            Elements::U8(elements) => to.write_all(elements),
            Elements::I8(elements) => elements.iter().try_for_each(|&e| to.write_i8(e)),
            Elements::I16(elements) => elements
                .iter()
                .try_for_each(|&e| to.write_i16::<BigEndian>(e)),
            Elements::I32(elements) => elements
                .iter()
                .try_for_each(|&e| to.write_i32::<BigEndian>(e)),
            Elements::F32(elements) => elements
                .iter()
                .try_for_each(|&e| to.write_f32::<BigEndian>(e)),
            Elements::F64(elements) => elements
                .iter()
                .try_for_each(|&e| to.write_f64::<BigEndian>(e)),
        }
    }
}

/// The contents of one IDX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Idx {
    /// The size of each dimension, the slowest first.
    pub sizes: Vec<usize>,
    /// The elements, row-major.
    pub elements: Elements,
}

impl Idx {
    /// Reads the file at `path`, plain or gzipped, whatever its name.
    ///
    /// # Errors
    /// With the path, the byte and the [`IdxFault`].
    pub fn open(path: &Path) -> Result<Self, IdxError> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| IdxError {
            file: name.clone(),
            offset: 0,
            fault: IdxFault::Io(error),
        })?;
        Self::read(&name, file)
    }

    /// Reads from any source, plain or gzipped, which errors then call `file`.
    ///
    /// # Errors
    /// With that name, the byte and the [`IdxFault`].
    pub fn read(file: &str, mut source: impl Read) -> Result<Self, IdxError> {
        let error = |offset, fault| IdxError {
            file: file.to_owned(),
            offset,
            fault,
        };
        let mut start = Vec::with_capacity(2);
        source
            .by_ref()
            .take(2)
            .read_to_end(&mut start)
            .map_err(|e| error(0, IdxFault::Io(e)))?;
        let gzipped = start == [0x1f, 0x8b];
        let source = io::Cursor::new(start).chain(source);
        let (result, offset) = if gzipped {
            let mut contents = Counted::new(MultiGzDecoder::new(source));
            (parse(&mut contents), contents.offset)
        } else {
            let mut contents = Counted::new(source);
            (parse(&mut contents), contents.offset)
        };
        result.map_err(|stop| match stop {
            Stop::At(offset, fault) => error(offset, fault),
            Stop::Source(e) => error(offset, source_fault(e, gzipped)),
        })
    }

    /// Reads a file that is inside the program, as [`Idx::read`] does; but bytes that are not gzipped
    /// are not copied.
    ///
    /// # Errors
    /// As [`Idx::read`].
    pub fn read_static(file: &str, contents: &'static [u8]) -> Result<Self, IdxError> {
        let mut source = Counted::new(contents);
        match parse_header(&mut source) {
            Ok(header) if header.code == 0x08 && header.promised == source.source.len() as u64 => {
                Ok(Self {
                    sizes: header.sizes,
                    elements: Elements::U8(Cow::Borrowed(source.source)),
                })
            }
            _ => Self::read(file, contents),
        }
    }

    /// Writes the file's bytes, not gzipped, to `to`; errors call it `file`.
    ///
    /// # Errors
    /// If there are not 1 to 8 dimensions, if the sizes do not multiply to the number of
    /// elements or do not fit in 32 bits, or if `to` fails. Only the last can leave something
    /// written.
    pub fn write(&self, file: &str, to: &mut (impl Write + ?Sized)) -> Result<(), IdxError> {
        let error = |offset, fault| IdxError {
            file: file.to_owned(),
            offset,
            fault,
        };
        let dimensions = self.sizes.len();
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(error(3, IdxFault::Dimensions(dimensions)));
        }
        let sizes: Result<Vec<u32>, _> = self.sizes.iter().map(|&size| size.try_into()).collect();
        let width = Elements::width(self.elements.code()).expect("every element has a width");
        let bytes = bytes_of(width, &self.sizes);
        let (Ok(sizes), true) = (sizes, bytes == Some((self.elements.len() * width) as u64)) else {
            return Err(error(
                4,
                IdxFault::Shape {
                    sizes: self.sizes.clone(),
                    elements: self.elements.len(),
                },
            ));
        };
        let mut write = || {
            to.write_all(&[0, 0, self.elements.code(), dimensions as u8])?;
            sizes
                .iter()
                .try_for_each(|&size| to.write_u32::<BigEndian>(size))?;
            self.elements.write(to)
        };
        write().map_err(|e| error(0, IdxFault::Io(e)))
    }
}

/// A source that knows how many bytes were read from it.
struct Counted<R> {
    source: R,
    offset: u64,
}

impl<R> Counted<R> {
    fn new(source: R) -> Self {
        Self { source, offset: 0 }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Why parsing stopped: a fault at a known byte, or the source failed where it stands.
enum Stop {
    At(u64, IdxFault),
    Source(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Source(error)
    }
}

/// What an error of the source means: gzip's own errors come as `io::Error` too.
fn source_fault(error: io::Error, gzipped: bool) -> IdxFault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof if gzipped => IdxFault::GzipCut,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if gzipped => {
            IdxFault::GzipCorrupt(error.to_string())
        }
        _ => IdxFault::Io(error),
    }
}

/// The bytes of elements that `sizes` stand for, if they are within [`MAX_BYTES`].
fn bytes_of(width: usize, sizes: &[usize]) -> Option<u64> {
    sizes
        .iter()
        .try_fold(width as u64, |bytes, &size| bytes.checked_mul(size as u64))
        .filter(|&bytes| bytes <= MAX_BYTES)
}

/// Reads until `bytes` is full or the source ends, and returns how many bytes came.
fn fill(source: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match source.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What stands before the elements.
struct Header {
    /// The elements' type.
    code: u8,
    /// The size of each dimension.
    sizes: Vec<usize>,
    /// How many bytes of elements that makes.
    promised: u64,
}

/// Reads a file's header.
fn parse_header<R: Read>(source: &mut Counted<R>) -> Result<Header, Stop> {
    let mut magic = [0; 4];
    let found = fill(source, &mut magic)?;
    // What is there is judged before what is missing: a file of another kind may be short, too.
    if found >= 2 && magic[..2] != [0, 0] {
        return Err(Stop::At(0, IdxFault::Magic(magic[0], magic[1])));
    }
    if found < 4 {
        return Err(Stop::At(found as u64, IdxFault::HeaderCut));
    }
    let [_, _, code, dimensions] = magic;
    let Some(width) = Elements::width(code) else {
        return Err(Stop::At(2, IdxFault::ElementType(code)));
    };
    let dimensions = usize::from(dimensions);
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(Stop::At(3, IdxFault::Dimensions(dimensions)));
    }

    let mut header = [0; 4 * MAX_DIMENSIONS];
    let header = &mut header[..4 * dimensions];
    let found = fill(source, header)?;
    if found < header.len() {
        return Err(Stop::At(4 + found as u64, IdxFault::HeaderCut));
    }
    let sizes: Vec<usize> = header
        .chunks_exact(4)
        .map(|size| BigEndian::read_u32(size) as usize)
        .collect();
    let Some(promised) = bytes_of(width, &sizes) else {
        return Err(Stop::At(4, IdxFault::TooLarge(sizes)));
    };
    Ok(Header {
        code,
        sizes,
        promised,
    })
}

/// Reads a whole file from its first byte to its end.
fn parse<R: Read>(source: &mut Counted<R>) -> Result<Idx, Stop> {
    let Header {
        code,
        sizes,
        promised,
    } = parse_header(source)?;
    let mut bytes = Vec::new();
    // `read_to_end` doubles its buffer as bytes arrive: a false promise costs nothing.
    let found = source.by_ref().take(promised).read_to_end(&mut bytes)? as u64;
    if found < promised {
        return Err(Stop::At(
            source.offset,
            IdxFault::TooShort { promised, found },
        ));
    }
    let end = source.offset;
    // One byte more is asked for, which also makes gzip check its sum.
    if fill(source, &mut [0])? > 0 {
        return Err(Stop::At(end, IdxFault::TooLong { promised }));
    }
    bytes.shrink_to_fit();
    Ok(Idx {
        sizes,
        elements: Elements::from_bytes(code, bytes),
    })
}
