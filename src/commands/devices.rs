//! `longhand devices`: the engines, and the hardware that they can use here.

use super::Failure;
use crate::report::{bytes, line};
use longhand::engines::EngineKind;
use longhand::hardware::gpu::device::{self, Description};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (cpu, features) = (cpu_name(), cpu_features());
    let gpus = device::list();
    if args.json {
        let engines =
            EngineKind::ALL.map(|kind| json!({"name": kind.name(), "about": kind.about()}));
        let devices = json!({
            "engines": engines,
            "cpu": {"name": cpu, "threads": threads, "features": features},
            "gpus": match &gpus {
                Ok((gpus, _)) => gpus.iter().map(gpu_json).collect(),
                Err(_) => Vec::new(),
            },
            "cuda": match &gpus {
                Ok((_, (major, minor))) => json!({"version": format!("{major}.{minor}")}),
                Err(error) => json!({"missing": error.to_string()}),
            },
        });
        line(format_args!("{devices}"))?;
        return Ok(());
    }
    line(format_args!("engines"))?;
    for kind in EngineKind::ALL {
        line(format_args!("  {:<10} {}", kind.name(), kind.about()))?;
    }
    line(format_args!("CPU"))?;
    line(format_args!("  {cpu}"))?;
    line(format_args!("  threads    {threads}"))?;
    let features = match features[..] {
        [] => "none that longhand knows".to_owned(),
        _ => features.join(" "),
    };
    line(format_args!("  features   {features}"))?;
    line(format_args!("GPU"))?;
    match gpus {
        Ok((gpus, (major, minor))) => {
            for (number, gpu) in gpus.iter().enumerate() {
                let (compute_major, compute_minor) = gpu.compute_capability;
                let engine = format!("cuda:{number}");
                line(format_args!(
                    "  {engine:<10} {}, compute capability {compute_major}.{compute_minor}, {}",
                    gpu.name,
                    bytes(gpu.memory as u64)
                ))?;
            }
            line(format_args!("  driver     CUDA {major}.{minor}"))?;
        }
        Err(error) => line(format_args!("  none       {error}"))?,
    }
    Ok(())
}

fn gpu_json(gpu: &Description) -> Value {
    let (major, minor) = gpu.compute_capability;
    json!({
        "name": gpu.name,
        "compute_capability": format!("{major}.{minor}"),
        "memory": gpu.memory,
    })
}

/// What the processor calls itself.
pub fn cpu_name() -> String {
    use sysinfo::{CpuRefreshKind, RefreshKind, System};
    let kind = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(kind);
    let brand = (system.cpus().first())
        .map(|cpu| cpu.brand().trim())
        .filter(|brand| !brand.is_empty());
    brand.unwrap_or(std::env::consts::ARCH).to_owned()
}

/// The instruction sets that bear upon the speed of matrix products.
fn cpu_features() -> Vec<&'static str> {
    let mut features = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let found = [
            ("sse4.2", is_x86_feature_detected!("sse4.2")),
            ("avx", is_x86_feature_detected!("avx")),
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
        ];
        features.extend(
            found
                .iter()
                .filter(|(_, here)| *here)
                .map(|(name, _)| *name),
        );
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        features.push("neon");
    }
    features
}
