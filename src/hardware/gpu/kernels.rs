//! The kernels that the program carries: their PTX, which a driver compiles for its GPU, and their
//! source, by which PTX that is no longer its source's is known. An edited source is compiled anew.

use std::borrow::Cow;

use super::GpuError;
use super::nvrtc::{Nvrtc, Source};
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

macro_rules! header {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../kernels/", $name)))
    };
}

/// What they include.
const HEADERS: [Source; 9] = [
    header!("classifier.h"),
    header!("loss.h"),
    header!("optimisers.h"),
    header!("philox.h"),
    header!("pooling.h"),
    header!("shapes.h"),
    header!("shared.h"),
    header!("step.h"),
    header!("sums.h"),
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
pub const FILES: [File; 14] = [
    file!("batch", "gather"),
    file!("classifier", "classifier_forward" "classifier_backward" "classifier_learn" "classifier_parameters"),
    file!("conv2d", "conv2d_forward" "conv2d_backward_input" "conv2d_backward_weight" "conv2d_backward_bias"),
    file!("conv2d_implicit_gemm", "conv2d_forward_implicit_gemm"),
    file!("conv2d_relu_max_pool2d", "conv2d_relu_max_pool2d_forward" "conv2d_relu_max_pool2d_backward"),
    file!("convnet", "convnet_forward" "convnet_backward" "convnet_update"),
    file!("cross_entropy", "cross_entropy"),
    file!("dropout", "dropout_mask"),
    file!("linear", "linear_forward" "linear_backward"),
    file!("max_pool2d", "max_pool2d_forward" "max_pool2d_backward"),
    file!("optimisers", "update" "average" "clip"),
    file!("peak", "peak_fma" "peak_triad"),
    file!("relu", "relu_forward" "relu_backward"),
    file!("sgemm", "sgemm_naive" "sgemm_coalesced" "sgemm_shared" "sgemm_registers" "sgemm_vector" "sgemm_warp" "sgemm_pipelined" "sgemm_wide"),
];

/// How PTX begins, before the SHA-256 of the source that it was made of.
const STAMP: &str = "// SHA-256 of the source: ";

impl File {
    /// Whether its kernels are there to be studied and measured, and no engine launches them.
    pub fn is_for_study(&self) -> bool {
        matches!(self.name, "peak" | "sgemm")
    }

    /// Its PTX: the program's own, if it was made of the source as it is, else what NVRTC now makes of
    /// the source. PTX of another source is never run.
    ///
    /// # Errors
    /// If the source was changed and NVRTC is nowhere, or does not take it.
    pub fn ptx(&self) -> Result<Cow<'static, str>, GpuError> {
        if self.is_fresh() {
            return Ok(Cow::Borrowed(self.ptx));
        }
        let path = format!("kernels/{}.cu", self.name);
        let nvrtc = Nvrtc::find().map_err(|error| {
            let reason = format!("it was edited since its PTX was made: {}", error.reason);
            GpuError::new(&path, reason)
        })?;
        Ok(Cow::Owned(self.compile(&nvrtc)?))
    }

    /// What NVRTC makes of the source.
    ///
    /// # Errors
    /// With the compiler's messages.
    pub fn compile(&self, nvrtc: &Nvrtc) -> Result<String, GpuError> {
        nvrtc.compile((&format!("{}.cu", self.name), self.source), &HEADERS)
    }

    /// Whether the PTX was made of the source and its headers as they are.
    fn is_fresh(&self) -> bool {
        let headers = HEADERS.iter().map(|(_, text)| *text);
        let sources = std::iter::once(self.source).chain(headers);
        let sources: Vec<&[u8]> = sources.map(str::as_bytes).collect();
        let hash = digest::sha256_of_bytes(&sources);
        let stamp = self.ptx.strip_prefix(STAMP);
        stamp.is_some_and(|stamp| stamp.starts_with(&hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ptx_is_older_than_its_source() {
        for file in FILES {
            let name = file.name;
            assert!(file.is_fresh(), "{name}.cu: run scripts/compile_kernels.py");
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
    fn ptx_of_another_source_is_not_run() {
        let [mut file, ..] = FILES;
        file.source = "extern \"C\" __global__ void edited(float* x) { *x = 1; }";
        match file.ptx() {
            Ok(ptx) => assert!(ptx.contains(".visible .entry edited("), "{ptx}"),
            // Without NVRTC.
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("kernels/batch.cu: it was edited"), "{text}");
                assert!(
                    text.contains("pip install nvidia-cuda-nvrtc-cu12"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn nvrtc_compiles_every_file_and_says_where_one_is_wrong() {
        let nvrtc = match Nvrtc::find() {
            Ok(nvrtc) => nvrtc,
            Err(error) => {
                // Where it was just installed, it must be found.
                assert!(std::env::var_os("NEEDS_NVRTC").is_none(), "{error}");
                eprintln!("skipped: there is no NVRTC");
                return;
            }
        };
        for file in FILES {
            let ptx = file.compile(&nvrtc).unwrap();
            for kernel in file.kernels {
                assert!(
                    ptx.contains(&format!(".visible .entry {kernel}(")),
                    "{kernel}"
                );
            }
        }
        let [mut file, ..] = FILES;
        file.source = "extern \"C\" __global__ void gather(float* x)\n{ *x = y; }";
        let error = file.ptx().unwrap_err().to_string();
        assert!(error.contains("batch.cu(2): error"), "{error}");
        file.source = "a\0b";
        assert!(file.ptx().is_err());
    }
}
