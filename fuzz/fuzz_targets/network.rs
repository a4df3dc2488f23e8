//! Networks as text: one that is read is written and read again as the same, within the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longhand::engines::EngineKind;
use longhand::engines::memory::{Load, memory};
use longhand::layers::MAX_ELEMENTS;
use longhand::network::{Description, Network};

fuzz_target!(|text: &str| {
    let Ok(description) = text.parse::<Description>() else {
        return;
    };
    let again = description.to_string().parse::<Description>();
    assert_eq!(again.as_ref(), Ok(&description));
    let input = description.input.or(Some([1, 28, 28]));
    let Ok(network) = Network::new(&description, input) else {
        return;
    };
    assert!(network.parameter_count() <= MAX_ELEMENTS);
    for kind in [EngineKind::Reference, EngineKind::Im2col, EngineKind::Lanes] {
        let load = Load {
            batch: 32,
            images: 10_000,
        };
        memory(kind, &network, Some(2), load).expect("a number of bytes");
    }
});
