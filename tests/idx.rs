//! The IDX format: what is written is read again, and every damaged file is an error that says
//! where.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use longhand::data::idx::MAX_BYTES;
use longhand::data::{Elements, Idx, IdxError, IdxFault};
use proptest::collection::vec;
use proptest::prelude::*;

/// The system's allocator, which remembers the largest allocation of each thread.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

impl Watched {
    fn note(size: usize) {
        LARGEST.set(LARGEST.get().max(size));
    }
}

// SAFETY: everything is passed on to the system's allocator; noting a size allocates nothing.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note(size);
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Two rows of three bytes.
const SMALL: [u8; 18] = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];

fn small() -> Idx {
    Idx {
        sizes: vec![2, 3],
        elements: Elements::U8(vec![1, 2, 3, 4, 5, 6].into()),
    }
}

fn read(bytes: &[u8]) -> Result<Idx, IdxError> {
    Idx::read("some.idx", bytes)
}

fn write(idx: &Idx) -> Result<Vec<u8>, IdxError> {
    let mut bytes = Vec::new();
    idx.write("some.idx", &mut bytes)?;
    Ok(bytes)
}

fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The gzip header's length, and that of the header of the one block that [`stored`] makes.
const GZIP_HEADER: usize = 10;
const BLOCK_HEADER: usize = 5;
/// The checksum's and the length's.
const GZIP_TRAILER: usize = 8;

/// Gzip that compresses nothing, so that each byte of the file has a known place.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let gzipped = gzip(bytes, Compression::none());
    let before = GZIP_HEADER + BLOCK_HEADER;
    assert_eq!(gzipped.len(), before + bytes.len() + GZIP_TRAILER);
    assert_eq!(gzipped[before..][..bytes.len()], *bytes);
    gzipped
}

/// A header that need not be true, and what follows it.
fn file(code: u8, sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

fn changed(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut bytes);
    bytes
}

/// The same words as elements of all six types.
fn all_types(words: &[u64]) -> [Elements; 6] {
    [
        Elements::U8(words.iter().map(|&word| word as u8).collect()),
        Elements::I8(words.iter().map(|&word| word as i8).collect()),
        Elements::I16(words.iter().map(|&word| word as i16).collect()),
        Elements::I32(words.iter().map(|&word| word as i32).collect()),
        Elements::F32(words.iter().map(|&w| f32::from_bits(w as u32)).collect()),
        Elements::F64(words.iter().map(|&word| f64::from_bits(word)).collect()),
    ]
}

/// The type's code and each element's bits, because NaN equals nothing and -0 equals 0.
fn bits(elements: &Elements) -> (u8, Vec<u64>) {
    let bits = match elements {
        Elements::U8(elements) => elements.iter().map(|&e| u64::from(e)).collect(),
        Elements::I8(elements) => elements.iter().map(|&e| e as u64).collect(),
        Elements::I16(elements) => elements.iter().map(|&e| e as u64).collect(),
        Elements::I32(elements) => elements.iter().map(|&e| e as u64).collect(),
        Elements::F32(elements) => elements.iter().map(|e| e.to_bits().into()).collect(),
        Elements::F64(elements) => elements.iter().map(|e| e.to_bits()).collect(),
    };
    (elements.code(), bits)
}

/// 1 to 8 sizes of 0 to 3, 0 being rarer, and as many words as they multiply to.
fn sizes_and_words() -> impl Strategy<Value = (Vec<usize>, Vec<u64>)> {
    let size = prop_oneof![1 => Just(0_usize), 19 => 1_usize..=3];
    vec(size, 1..=8).prop_flat_map(|sizes| {
        let count: usize = sizes.iter().product();
        (Just(sizes), vec(any::<u64>(), count))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_again((sizes, words) in sizes_and_words()) {
        for elements in all_types(&words) {
            let idx = Idx { sizes: sizes.clone(), elements };
            let plain = write(&idx)?;
            let loose = gzip(&plain, Compression::none());
            let tight = gzip(&plain, Compression::best());
            for bytes in [loose, tight, plain] {
                let again = read(&bytes)?;
                prop_assert_eq!(&again.sizes, &idx.sizes);
                prop_assert_eq!(bits(&again.elements), bits(&idx.elements));
            }
        }
    }

    #[test]
    fn random_bytes_are_an_error_or_the_file_that_they_spell(
        bytes in vec(any::<u8>(), 0..64),
        zeros in 0_usize..=3,
    ) {
        // Zeros in front bring more of them past the magic.
        let bytes: Vec<u8> = [0; 3][..zeros].iter().chain(&bytes).copied().collect();
        if let Ok(idx) = read(&bytes) {
            prop_assert_eq!(write(&idx)?, bytes);
        }
    }

    #[test]
    fn random_bytes_after_a_gzip_header_are_an_error(bytes in vec(any::<u8>(), 0..64)) {
        let header = &stored(&[])[..GZIP_HEADER];
        prop_assert!(read(&[header, &bytes].concat()).is_err());
    }

    #[test]
    fn bytes_after_a_valid_header_are_read_if_they_are_as_many_as_it_promises(
        (code, width) in prop::sample::select(
            vec![(0x08, 1), (0x09, 1), (0x0B, 2), (0x0C, 4), (0x0D, 4), (0x0E, 8_usize)]
        ),
        sizes in vec(0_u32..=2, 1..=8),
        more in -1_isize..=1,
        random in vec(any::<u8>(), 8 * 256 + 1),
    ) {
        let promised = width * sizes.iter().product::<u32>() as usize;
        let length = promised.saturating_add_signed(more);
        let bytes = file(code, &sizes, &random[..length]);
        for bytes in [gzip(&bytes, Compression::fast()), bytes] {
            prop_assert_eq!(read(&bytes).is_ok(), length == promised);
        }
    }

    #[test]
    fn random_sizes_never_panic(
        code in prop::sample::select(vec![0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E]),
        // Without a 0, which would make the few bytes after the header too many, not too few.
        sizes in vec(prop_oneof![1 << 16..=1_u32 << 17, u32::MAX - 3..=u32::MAX], 1..=8),
        random in vec(any::<u8>(), 0..64),
    ) {
        let error = read(&file(code, &sizes, &random)).unwrap_err();
        let expected = matches!(error.fault, IdxFault::TooShort { .. } | IdxFault::TooLarge(_));
        prop_assert!(expected, "{}", error);
    }
}

#[test]
fn a_known_file_of_each_type_is_read_and_written_byte_for_byte() {
    let files: [(Elements, &[u8]); 6] = [
        (
            Elements::U8(vec![1, 255].into()),
            &[0, 0, 0x08, 1, 0, 0, 0, 2, 1, 255],
        ),
        (
            Elements::I8(vec![1, -1]),
            &[0, 0, 0x09, 1, 0, 0, 0, 2, 1, 255],
        ),
        (
            Elements::I16(vec![0x0102, -2]),
            &[0, 0, 0x0B, 1, 0, 0, 0, 2, 1, 2, 255, 254],
        ),
        (
            Elements::I32(vec![0x0102_0304, -2]),
            &[0, 0, 0x0C, 1, 0, 0, 0, 2, 1, 2, 3, 4, 255, 255, 255, 254],
        ),
        (
            Elements::F32(vec![1.0, -2.0]),
            &[0, 0, 0x0D, 1, 0, 0, 0, 2, 0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0],
        ),
        (
            Elements::F64(vec![1.0, -2.0]),
            &[
                0, 0, 0x0E, 1, 0, 0, 0, 2, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
    ];
    for (elements, bytes) in files {
        let idx = Idx {
            sizes: vec![2],
            elements,
        };
        assert_eq!(write(&idx).unwrap(), bytes);
        assert_eq!(read(bytes).unwrap(), idx);
        // As it would be inside the program; and with one byte less or more.
        let longer: &[u8] = [bytes, &[7]].concat().leak();
        let (shorter, whole) = (&longer[..bytes.len() - 1], &longer[..bytes.len()]);
        let gzipped: &[u8] = gzip(bytes, Compression::best()).leak();
        for contents in [whole, gzipped] {
            assert_eq!(Idx::read_static("inside", contents).unwrap(), idx);
        }
        for damaged in [shorter, longer, &[]] {
            let error = Idx::read_static("inside", damaged).unwrap_err();
            let expected = Idx::read("inside", damaged).unwrap_err();
            assert_eq!(error.to_string(), expected.to_string());
        }
    }
    assert_eq!(write(&small()).unwrap(), SMALL);
    assert_eq!(read(&SMALL).unwrap(), small());
}

#[test]
fn bytes_inside_the_program_are_not_copied() {
    static INSIDE: [u8; 18] = SMALL;
    let Elements::U8(bytes) = Idx::read_static("inside", &INSIDE).unwrap().elements else {
        panic!("SMALL is of bytes");
    };
    assert_eq!(bytes.as_ptr_range().end, INSIDE.as_ptr_range().end);
}

#[test]
fn a_size_is_four_bytes_the_highest_first() {
    let bytes = file(0x08, &[0x0102_0304, 0], &[]);
    assert_eq!(bytes[4..8], [1, 2, 3, 4]);
    let idx = read(&bytes).unwrap();
    assert_eq!(idx.sizes, [0x0102_0304, 0]);
    assert_eq!(write(&idx).unwrap(), bytes);
}

#[test]
fn gzip_is_found_by_content_and_not_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let gzipped = gzip(&SMALL, Compression::best());
    for (name, bytes) in [("gzipped", &gzipped[..]), ("plain.gz", &SMALL)] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Idx::open(&path).unwrap(), small(), "{name}");
    }
}

#[test]
fn gzip_of_several_members_is_one_file() {
    let (start, end) = SMALL.split_at(7);
    let bytes = [stored(start), stored(&[]), stored(end)].concat();
    assert_eq!(read(&bytes).unwrap(), small());
}

/// A file, the byte at which it is wrong, and whether a fault is the right one.
type Damage = (&'static str, Vec<u8>, u64, fn(&IdxFault) -> bool);

#[test]
fn each_damage_has_its_fault_and_its_byte() {
    let header_cut: fn(&IdxFault) -> bool = |fault| matches!(fault, IdxFault::HeaderCut);
    let gzip_cut: fn(&IdxFault) -> bool = |fault| matches!(fault, IdxFault::GzipCut);
    let gzip_corrupt: fn(&IdxFault) -> bool = |fault| matches!(fault, IdxFault::GzipCorrupt(_));
    let too_large: fn(&IdxFault) -> bool = |fault| matches!(fault, IdxFault::TooLarge(_));
    let too_long: fn(&IdxFault) -> bool =
        |fault| matches!(fault, IdxFault::TooLong { promised: 6 });

    let stored_small = stored(&SMALL);
    let contents = GZIP_HEADER + BLOCK_HEADER;
    let trailer = contents + SMALL.len();
    let cut = |length: usize| stored_small[..length].to_vec();
    let flipped = |place: usize| changed(stored_small.clone(), |bytes| bytes[place] ^= 1);
    let followed_by = |garbage: &[u8]| [&stored_small[..], garbage].concat();

    let damages: Vec<Damage> = vec![
        ("first byte", b"\x01\0\x08\x01".to_vec(), 0, |fault| {
            matches!(fault, IdxFault::Magic(1, 0))
        }),
        ("second byte", b"\0\x02\x08\x01".to_vec(), 0, |fault| {
            matches!(fault, IdxFault::Magic(0, 2))
        }),
        ("another kind of file, short", b"PK".to_vec(), 0, |fault| {
            matches!(fault, IdxFault::Magic(b'P', b'K'))
        }),
        ("element type 0", file(0, &[1], &[1]), 2, |fault| {
            matches!(fault, IdxFault::ElementType(0))
        }),
        (
            "the type between 09 and 0B",
            file(0x0A, &[1], &[1]),
            2,
            |fault| matches!(fault, IdxFault::ElementType(0x0A)),
        ),
        ("element type 0F", file(0x0F, &[1], &[1]), 2, |fault| {
            matches!(fault, IdxFault::ElementType(0x0F))
        }),
        ("no dimension", file(8, &[], &[1]), 3, |fault| {
            matches!(fault, IdxFault::Dimensions(0))
        }),
        ("9 dimensions", file(8, &[1; 9], &[1]), 3, |fault| {
            matches!(fault, IdxFault::Dimensions(9))
        }),
        ("255 dimensions", vec![0, 0, 8, 255], 3, |fault| {
            matches!(fault, IdxFault::Dimensions(255))
        }),
        ("empty", vec![], 0, header_cut),
        ("cut after 1 byte", SMALL[..1].to_vec(), 1, header_cut),
        ("cut after 2 bytes", SMALL[..2].to_vec(), 2, header_cut),
        ("cut after 3 bytes", SMALL[..3].to_vec(), 3, header_cut),
        ("cut after 4 bytes", SMALL[..4].to_vec(), 4, header_cut),
        ("cut in the first size", SMALL[..7].to_vec(), 7, header_cut),
        ("cut between sizes", SMALL[..8].to_vec(), 8, header_cut),
        ("cut in the last size", SMALL[..11].to_vec(), 11, header_cut),
        ("no elements", SMALL[..12].to_vec(), 12, |fault| {
            matches!(
                fault,
                IdxFault::TooShort {
                    promised: 6,
                    found: 0
                }
            )
        }),
        ("one element short", SMALL[..17].to_vec(), 17, |fault| {
            matches!(
                fault,
                IdxFault::TooShort {
                    promised: 6,
                    found: 5
                }
            )
        }),
        (
            "half an f64 short",
            file(0x0E, &[2], &[0; 12]),
            20,
            |fault| {
                matches!(
                    fault,
                    IdxFault::TooShort {
                        promised: 16,
                        found: 12
                    }
                )
            },
        ),
        ("one byte long", [&SMALL[..], &[7]].concat(), 18, too_long),
        (
            "longer than its size of 0",
            file(8, &[3, 0], &[7]),
            12,
            |fault| matches!(fault, IdxFault::TooLong { promised: 0 }),
        ),
        (
            "one byte more than MAX_BYTES",
            file(8, &[641, 6_700_417], &[1]),
            4,
            too_large,
        ),
        (
            "MAX_BYTES of elements, each of two bytes",
            file(0x0B, &[1 << 16, 1 << 16], &[1]),
            4,
            too_large,
        ),
        (
            "2^64 bytes, which 64 bits cannot hold",
            file(8, &[1 << 16; 4], &[1]),
            4,
            too_large,
        ),
        (
            "the largest sizes",
            file(0x0E, &[u32::MAX; 8], &[1]),
            4,
            too_large,
        ),
        ("gzip: only the magic", cut(2), 0, gzip_cut),
        ("gzip: cut in its header", cut(9), 0, gzip_cut),
        ("gzip: cut after its header", cut(10), 0, gzip_cut),
        (
            "gzip: cut in the IDX header",
            cut(contents + 5),
            5,
            gzip_cut,
        ),
        (
            "gzip: cut in the elements",
            cut(contents + 14),
            14,
            gzip_cut,
        ),
        ("gzip: cut before the trailer", cut(trailer), 18, gzip_cut),
        ("gzip: cut in the checksum", cut(trailer + 3), 18, gzip_cut),
        ("gzip: cut in the length", cut(trailer + 7), 18, gzip_cut),
        ("gzip: unknown method", flipped(2), 0, gzip_corrupt),
        (
            "gzip: the block's length",
            flipped(GZIP_HEADER + 1),
            0,
            gzip_corrupt,
        ),
        ("gzip: an element", flipped(contents + 14), 18, gzip_corrupt),
        ("gzip: the checksum", flipped(trailer), 18, gzip_corrupt),
        ("gzip: the length", flipped(trailer + 4), 18, gzip_corrupt),
        (
            "gzip: garbage behind",
            followed_by(&[7; 20]),
            18,
            gzip_corrupt,
        ),
        (
            "gzip: a little garbage behind",
            followed_by(&[7]),
            18,
            gzip_cut,
        ),
        (
            "gzip: a second member",
            followed_by(&stored(&[7])),
            18,
            too_long,
        ),
        (
            "gzip: more than was promised",
            gzip(&[&SMALL[..], &[0; 1 << 20]].concat(), Compression::best()),
            18,
            too_long,
        ),
        (
            "gzip: less than was promised",
            stored(&SMALL[..17]),
            17,
            |fault| {
                matches!(
                    fault,
                    IdxFault::TooShort {
                        promised: 6,
                        found: 5
                    }
                )
            },
        ),
        ("gzip: nothing inside", stored(&[]), 0, header_cut),
        ("gzip: of gzip", stored(&stored_small), 0, |fault| {
            matches!(fault, IdxFault::Magic(0x1f, 0x8b))
        }),
    ];
    for (what, bytes, offset, is_right) in damages {
        let Err(error) = read(&bytes) else {
            panic!("{what}: was read");
        };
        assert!(is_right(&error.fault), "{what}: {error}");
        assert_eq!(error.offset, offset, "{what}: {error}");
        assert_eq!(error.file, "some.idx", "{what}");
        let message = error.to_string();
        let start = format!("some.idx: byte {offset}: ");
        assert!(message.starts_with(&start), "{what}: {message}");
        assert_eq!(message, format!("{start}{}", error.fault));
    }
}

#[test]
fn a_promise_of_4_gib_is_too_short_and_allocates_nothing_of_it() {
    let promise = file(0x08, &[1 << 16, 1 << 16], &[1, 2, 3]);
    for bytes in [stored(&promise), promise] {
        LARGEST.set(0);
        let error = read(&bytes).unwrap_err();
        let largest = LARGEST.get();
        let expected = matches!(
            error.fault,
            IdxFault::TooShort {
                promised: MAX_BYTES,
                found: 3
            }
        );
        assert!(expected, "{error}");
        assert_eq!(error.offset, 15);
        assert!((1..1 << 20).contains(&largest), "{largest} bytes at once");
    }
}

#[test]
fn too_much_inside_gzip_is_not_inflated() {
    // 64 MiB of zeros behind six elements.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&SMALL).unwrap();
    for _ in 0..64 {
        encoder.write_all(&[0; 1 << 20]).unwrap();
    }
    let bytes = encoder.finish().unwrap();
    LARGEST.set(0);
    let error = read(&bytes).unwrap_err();
    let largest = LARGEST.get();
    let expected = matches!(error.fault, IdxFault::TooLong { promised: 6 });
    assert!(expected, "{error}");
    assert!((1..1 << 20).contains(&largest), "{largest} bytes at once");
}

#[test]
fn every_prefix_of_a_file_is_an_error() {
    let plain = SMALL.to_vec();
    let gzipped = gzip(&SMALL, Compression::best());
    for whole in [plain, stored(&SMALL), gzipped] {
        assert_eq!(read(&whole).unwrap(), small());
        for length in 0..whole.len() {
            let result = read(&whole[..length]);
            assert!(result.is_err(), "{length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn every_flipped_bit_of_a_gzipped_file_is_an_error_or_changes_nothing() {
    // Gzip's checksum covers the contents; its own header has bytes that mean nothing here.
    let whole = gzip(&SMALL, Compression::best());
    for bit in 0..8 * whole.len() {
        let bytes = changed(whole.clone(), |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        if let Ok(idx) = read(&bytes) {
            assert_eq!(idx, small(), "bit {bit}");
        }
    }
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not-there.idx");
    let error = Idx::open(&path).unwrap_err();
    let IdxFault::Io(cause) = &error.fault else {
        panic!("{error}");
    };
    assert_eq!(cause.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(error.offset, 0);
    assert_eq!(error.file, path.display().to_string());
    let start = format!("{}: byte 0: ", path.display());
    assert!(error.to_string().starts_with(&start), "{error}");
}

#[test]
fn a_source_that_fails_is_an_error_at_the_byte_where_it_failed() {
    /// Gives `SMALL` up to a byte and then fails.
    struct Failing(usize);
    impl std::io::Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0 {
                14 => Err(std::io::ErrorKind::ConnectionReset.into()),
                at => {
                    buffer[0] = SMALL[at];
                    self.0 += 1;
                    Ok(1)
                }
            }
        }
    }
    let error = Idx::read("some.idx", Failing(0)).unwrap_err();
    assert!(matches!(error.fault, IdxFault::Io(_)), "{error}");
    assert_eq!(error.offset, 14);
}

#[test]
fn write_refuses_what_the_format_cannot_hold_and_writes_none_of_it() {
    let refusals: [(Vec<usize>, usize, u64); 7] = [
        (vec![], 1, 3),
        (vec![1; 9], 1, 3),
        (vec![2, 3], 5, 4),
        (vec![2, 3], 7, 4),
        (vec![2, 0], 1, 4),
        (vec![1 << 32, 0], 0, 4),
        (vec![1 << 31, 1 << 31, 4], 0, 4),
    ];
    for (sizes, count, offset) in refusals {
        let idx = Idx {
            sizes: sizes.clone(),
            elements: Elements::U8(vec![0; count].into()),
        };
        let mut bytes = Vec::new();
        let error = idx.write("some.idx", &mut bytes).unwrap_err();
        let expected = match &error.fault {
            IdxFault::Dimensions(found) => offset == 3 && *found == sizes.len(),
            IdxFault::Shape {
                sizes: found,
                elements,
            } => offset == 4 && *found == sizes && *elements == count,
            _ => false,
        };
        assert!(expected, "{sizes:?}: {error}");
        assert_eq!(error.offset, offset);
        assert!(bytes.is_empty(), "{sizes:?}");
    }
}

#[test]
fn write_reports_a_target_that_fails() {
    let mut room = [0; 10];
    let error = small().write("full.idx", &mut &mut room[..]).unwrap_err();
    assert!(matches!(error.fault, IdxFault::Io(_)), "{error}");
    assert_eq!(error.file, "full.idx");
}
