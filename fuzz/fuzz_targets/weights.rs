//! Files of weights, safetensors and PyTorch's: a model that is read is written and read again as
//! the same, or the bytes are an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longhand::formats::{onnx, safetensors, weights};
use longhand::network::Description;

fuzz_target!(|bytes: &[u8]| {
    let asked: Description = "input 1x2x2, flatten, linear 4".parse().expect("a network");
    for asked in [None, Some(&asked)] {
        if let Ok(model) = weights::decode(bytes, asked) {
            let written = safetensors::encode(&model).expect("what was read can be written");
            let again = weights::decode(&written, None).expect("what was written can be read");
            assert_eq!(again, model);
            onnx::encode(&model).expect("a small model");
        }
    }
});
