//! Which data, which weights: MD5 and SHA-256, in hexadecimal.

use std::io::{self, Write};

use md5::Md5;
use sha2::{Digest, Sha256};

/// The MD5 of everything that `write` writes.
///
/// # Errors
/// What `write` itself says.
pub fn md5<E>(write: impl FnOnce(&mut dyn Write) -> Result<(), E>) -> Result<String, E> {
    let mut sink = Sink(Md5::new());
    write(&mut sink)?;
    Ok(hexadecimal(&sink.0.finalize()))
}

/// The SHA-256 of a flat vector of parameters, as little-endian `f32`.
pub fn sha256(parameters: &[f32]) -> String {
    let mut digest = Sha256::new();
    for parameter in parameters {
        digest.update(parameter.to_le_bytes());
    }
    hexadecimal(&digest.finalize())
}

/// The SHA-256 of parts, one after the other.
pub fn sha256_of_bytes(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    hexadecimal(&digest.finalize())
}

/// Bytes as a digest reads them: nothing is kept, nothing fails.
struct Sink<D>(D);

impl<D: Digest> Write for Sink<D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_answers() {
        let md5 = md5(|to| to.write_all(b"abc")).unwrap();
        assert_eq!(md5, "900150983cd24fb0d6963f7d28e17f72");
        // FIPS 180-2, "abcd…nopq" read as fourteen floats.
        let message = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        let floats: Vec<f32> = message
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        assert_eq!(
            sha256(&floats),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        );
    }
}
