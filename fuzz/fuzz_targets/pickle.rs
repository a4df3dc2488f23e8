//! The pickles of PyTorch's files, which in their archive are guarded by a checksum that no fuzzer
//! guesses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longhand::formats::pickle;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tensors) = pickle::state_dict(bytes) {
        assert!(tensors.len() <= bytes.len());
    }
});
