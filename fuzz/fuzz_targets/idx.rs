//! IDX files, plain and gzipped: what is read is written as it was, or the bytes are an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longhand::data::Idx;

fuzz_target!(|bytes: &[u8]| {
    let Ok(idx) = Idx::read("fuzz", bytes) else {
        return;
    };
    let mut written = Vec::new();
    idx.write("fuzz", &mut written).expect("what was read can be written");
    // Of a gzipped file these are the contents.
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        assert_eq!(written, bytes);
    }
});
