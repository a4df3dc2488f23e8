//! The state of a run: what is read is written and read again as the same, or the bytes are an
//! error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longhand::training::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(checkpoint) = Checkpoint::decode(bytes) {
        let written = checkpoint.encode().expect("what was read can be written");
        let again = Checkpoint::decode(&written).expect("what was written can be read");
        assert_eq!(again, checkpoint);
    }
});
