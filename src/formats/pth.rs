//! PyTorch's own format, as `torch.save(net.state_dict(), "checkpoint.pth")` writes it: a zip
//! archive with a pickle, which says where each tensor lies, and a file a storage.
//!
//! | in the archive | what |
//! |---|---|
//! | `NAME/data.pkl` | the state dict ([`super::pickle`]) |
//! | `NAME/byteorder` | `little`, where it is there |
//! | `NAME/data/KEY` | the elements of a storage |
//!
//! Source: `torch/serialization.py` of PyTorch 2.13.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::pickle::{self, StoredTensor};
use super::weights::{ModelFault, Tensors};

/// How a zip archive begins.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";

/// How the files begin that PyTorch wrote before version 1.6: with a pickle of protocol 2.
pub(super) const OLD_MAGIC: &[u8] = b"\x80\x02";

/// The most bytes of a pickle: many times what the largest network needs.
const MAX_PICKLE: u64 = 1 << 22;

/// An archive with its table of tensors. Their numbers are read when they are asked for.
pub(super) struct StateDict<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// `NAME/`
    root: String,
    tensors: Vec<(String, StoredTensor)>,
}

fn damaged(error: impl std::fmt::Display) -> ModelFault {
    ModelFault::Pth(error.to_string())
}

impl<'a> StateDict<'a> {
    /// Reads the table of an archive.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ModelFault> {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        let suffix = "/data.pkl";
        let root = archive
            .file_names()
            .filter_map(Result::ok)
            .find_map(|name| {
                let root = name.strip_suffix(suffix)?;
                (!root.contains('/')).then(|| format!("{root}/"))
            })
            .ok_or_else(|| damaged("there is no data.pkl in it"))?;
        let pickle = read(&mut archive, &format!("{root}data.pkl"), MAX_PICKLE)?;
        let order = format!("{root}byteorder");
        if archive.index_for_name(&order).is_some() {
            let order = read(&mut archive, &order, 16)?;
            if order.trim_ascii() != b"little" {
                return Err(damaged("its bytes are not in little-endian order"));
            }
        }
        Ok(Self {
            archive,
            root,
            tensors: pickle::state_dict(&pickle).map_err(damaged)?,
        })
    }
}

/// The contents of a file of the archive, which is not compressed, as PyTorch leaves it.
fn read(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    name: &str,
    most: u64,
) -> Result<Vec<u8>, ModelFault> {
    let named = |error: String| damaged(format!("{name}: {error}"));
    let file = archive.by_name(name).map_err(|e| named(e.to_string()))?;
    let mut contents = Vec::new();
    let mut file = file.take(most + 1);
    file.read_to_end(&mut contents)
        .map_err(|error| named(error.to_string()))?;
    if contents.len() as u64 > most {
        return Err(named(format!("more than {most} bytes")));
    }
    Ok(contents)
}

impl Tensors for StateDict<'_> {
    fn names(&self) -> Vec<&str> {
        self.tensors.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        let (_, tensor) = self.tensors.iter().find(|(other, _)| other == name)?;
        Some(&tensor.shape)
    }

    fn read(&mut self, name: &str, numbers: &mut [f32]) -> Result<(), ModelFault> {
        let found = self.tensors.iter().find(|(other, _)| other == name);
        let Some((_, tensor)) = found else {
            return Err(ModelFault::Missing(name.to_owned()));
        };
        if tensor.storage != "FloatStorage" {
            return Err(ModelFault::Type {
                name: name.to_owned(),
                found: tensor.storage.trim_end_matches("Storage").to_owned(),
            });
        }
        let place = format!("{}data/{}", self.root, tensor.key);
        let storage = read(&mut self.archive, &place, super::weights::MAX_FILE)?;
        let (storage, _) = storage.as_chunks::<4>();
        copy(tensor, storage, numbers)
            .ok_or_else(|| damaged(format!("tensor {name} reaches beyond its storage {place}")))
    }
}

/// Gathers the elements of `tensor`, row-major; nothing if they are not all in the storage.
fn copy(tensor: &StoredTensor, storage: &[[u8; 4]], numbers: &mut [f32]) -> Option<()> {
    let StoredTensor {
        offset,
        shape,
        strides,
        ..
    } = tensor;
    if shape.len() != strides.len() {
        return None;
    }
    // The place of the last element bounds all of them, for no stride is negative.
    let steps = shape.iter().zip(strides);
    let last = steps.clone().try_fold(*offset, |place, (&size, &stride)| {
        place.checked_add(size.checked_sub(1)?.checked_mul(stride)?)
    })?;
    if last >= storage.len() {
        return None;
    }
    for (index, number) in numbers.iter_mut().enumerate() {
        let mut rest = index;
        let mut place = *offset;
        for (&size, &stride) in steps.clone().rev() {
            place += rest % size * stride;
            rest /= size;
        }
        *number = f32::from_le_bytes(storage[place]);
    }
    Some(())
}
