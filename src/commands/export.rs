//! `longhand export`: a model as a file for other programs.

use std::path::PathBuf;

use super::{Failure, ModelArgs, NetworkArg};
use crate::report::line;
use longhand::files::write_whole;
use longhand::formats::onnx;
use longhand::layers::Shape;

#[derive(clap::Args)]
pub struct Args {
    /// The model: a safetensors file, PyTorch's .pth, or `builtin`
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The weights' network, where their file does not say: a preset, a text or @FILE
    #[arg(long, value_parser = NetworkArg::parse)]
    network: Option<NetworkArg>,
    /// Write it as ONNX, which reads images that are already normalised
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let model = ModelArgs {
        model: Some(args.model.clone()),
        network: args.network.clone(),
    };
    let model = model.open()?;
    let path = args.onnx.display();
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{path}: {error}").into());
    let bytes = onnx::encode(&model).map_err(|error| failed(&error))?;
    write_whole(&args.onnx, &bytes).map_err(|error| failed(&error))?;
    line(format_args!(
        "{path}: input (batch, {}) less mean {:?}, divided by deviation {:?}; logits (batch, {})",
        sizes(Shape::Image(model.network.input())),
        model.normalisation.mean(),
        model.normalisation.deviation(),
        sizes(model.network.output()),
    ))?;
    Ok(())
}

fn sizes(shape: Shape) -> String {
    let sizes = shape.sizes().iter().map(ToString::to_string);
    sizes.collect::<Vec<_>>().join(", ")
}
