//! Undoes gzip of MNIST's files, whose contents are compiled into the program: no run has to.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::{env, io};

use flate2::read::MultiGzDecoder;

const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// # Errors
/// If a file is missing or damaged, which is then named.
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_MNIST").is_none() {
        return Ok(());
    }
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    for name in FILES {
        let gzipped = format!("data/mnist/{name}.gz");
        println!("cargo::rerun-if-changed={gzipped}");
        unpack(Path::new(&gzipped), &Path::new(&out).join(name))
            .map_err(|error| format!("{gzipped}: {error}"))?;
    }
    Ok(())
}

fn unpack(gzipped: &Path, plain: &Path) -> io::Result<u64> {
    let mut contents = MultiGzDecoder::new(File::open(gzipped)?);
    io::copy(&mut contents, &mut File::create(plain)?)
}
