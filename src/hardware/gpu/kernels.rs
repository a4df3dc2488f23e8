//! The kernels that the program carries: their PTX, which a driver compiles for its GPU, and their
//! source, by which PTX that is no longer its source's is known.

use super::GpuError;
use crate::digest;

/// A file of kernels.
pub struct File {
    /// Its name in `kernels`, without the ending.
    pub name: &'static str,
    /// What a person reads and changes.
    pub source: &'static str,
    /// What `scripts/compile_kernels.py` made of it.
    pub ptx: &'static str,
    /// The kernels in it.
    pub kernels: &'static [&'static str],
}

/// What they include.
const HEADERS: [&str; 5] = [
    include_str!("../../../kernels/pooling.h"),
    include_str!("../../../kernels/shapes.h"),
    include_str!("../../../kernels/shared.h"),
    include_str!("../../../kernels/step.h"),
    include_str!("../../../kernels/sums.h"),
];

macro_rules! file {
    ($name:literal, $($kernel:literal)*) => {
        File {
            name: $name,
            source: include_str!(concat!("../../../kernels/", $name, ".cu")),
            ptx: include_str!(concat!("../../../kernels/ptx/", $name, ".ptx")),
            kernels: &[$($kernel),*],
        }
    };
}

/// All of them.
pub const FILES: [File; 10] = [
    file!("batch", "gather"),
    file!("conv2d", "conv2d_forward" "conv2d_backward_input" "conv2d_backward_weight" "conv2d_backward_bias"),
    file!("conv2d_relu_max_pool2d", "conv2d_relu_max_pool2d_forward" "conv2d_relu_max_pool2d_backward"),
    file!("cross_entropy", "cross_entropy"),
    file!("dropout", "dropout_mask"),
    file!("linear", "linear_forward" "linear_backward"),
    file!("max_pool2d", "max_pool2d_forward" "max_pool2d_backward"),
    file!("optimisers", "sgd" "adam" "average" "clip"),
    file!("relu", "relu_forward" "relu_backward"),
    file!("sgemm", "sgemm_naive" "sgemm_coalesced" "sgemm_shared" "sgemm_registers" "sgemm_vector" "sgemm_warp"),
];

/// How PTX begins, before the SHA-256 of the source that it was made of.
const STAMP: &str = "// SHA-256 of the source: ";

impl File {
    /// The PTX, if it was made of the source as it is.
    ///
    /// # Errors
    /// If the source was changed since.
    pub fn ptx(&self) -> Result<&'static str, GpuError> {
        let sources: Vec<&[u8]> = std::iter::once(self.source)
            .chain(HEADERS)
            .map(str::as_bytes)
            .collect();
        let hash = digest::sha256_of_bytes(&sources);
        let stamp = self.ptx.strip_prefix(STAMP);
        match stamp.is_some_and(|stamp| stamp.starts_with(&hash)) {
            true => Ok(self.ptx),
            false => {
                let reason = "its PTX is older: run scripts/compile_kernels.py";
                Err(GpuError::new(format!("kernels/{}.cu", self.name), reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ptx_is_older_than_its_source() {
        for file in FILES {
            file.ptx().unwrap();
        }
    }

    #[test]
    fn every_kernel_is_listed_with_its_file_and_in_its_ptx() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        assert_eq!(
            names.filter(|name| name.ends_with(".cu")).count(),
            FILES.len()
        );
        for file in FILES {
            let entries = |text: &str, mark: &str| text.matches(mark).count();
            assert_eq!(
                entries(file.source, "__global__"),
                file.kernels.len(),
                "{}",
                file.name
            );
            assert_eq!(
                entries(file.ptx, ".visible .entry"),
                file.kernels.len(),
                "{}",
                file.name
            );
            for kernel in file.kernels {
                let entry = format!(".visible .entry {kernel}(");
                assert!(file.ptx.contains(&entry), "{kernel}");
            }
        }
    }

    #[test]
    fn ptx_of_another_source_is_refused() {
        let [mut file, ..] = FILES;
        file.source = "// changed";
        let error = file.ptx().unwrap_err();
        assert!(
            error.to_string().contains("scripts/compile_kernels.py"),
            "{error}"
        );
    }
}
