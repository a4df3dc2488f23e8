//! Pictures: one that is read is what a network of gray or of coloured images reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longhand::pictures;

fuzz_target!(|bytes: &[u8]| {
    for shape in [[1, 28, 28], [3, 9, 7]] {
        if let Ok(images) = pictures::read("fuzz", bytes, shape) {
            assert_eq!((images.len(), images.shape()), (1, shape));
        }
    }
});
