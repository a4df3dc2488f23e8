//! `longhand summary`: a network, layer by layer.

use super::{Failure, ModelArgs, NetworkArg};
use crate::report::{grouped, line};
use longhand::network::{Network, Preset};

#[derive(clap::Args)]
pub struct Args {
    /// A preset (tutorial, lenet5, mlp), a text, or @FILE [default: tutorial]
    #[arg(long, value_parser = NetworkArg::parse)]
    network: Option<NetworkArg>,
    /// The network of these weights: a safetensors file, or `builtin`
    #[arg(long, value_name = "FILE")]
    model: Option<std::path::PathBuf>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let network = match &args.model {
        Some(model) => {
            let args = ModelArgs {
                model: Some(model.clone()),
                network: args.network.clone(),
            };
            args.open()?.network
        }
        None => {
            let [default, ..] = Preset::ALL;
            let description = match &args.network {
                Some(network) => network.description(10)?,
                None => default.description(10),
            };
            // Where the text names no input, it is shown on MNIST's.
            let input = description.input.unwrap_or([1, 28, 28]);
            Network::new(&description, Some(input))?
        }
    };

    line(format_args!("{network}"))?;
    line(format_args!(""))?;
    line(format_args!(
        "{:<34} {:>12} {:>12} {:>14} {:>14}",
        "layer", "output", "parameters", "forward FLOP", "backward FLOP"
    ))?;
    let [channels, height, width] = network.input();
    let input = format!("{channels}x{height}x{width}");
    line(format_args!("{:<34} {input:>12}", "input"))?;
    let texts = &network.description().layers;
    for (index, (layer, text)) in network.layers().iter().zip(texts).enumerate() {
        line(format_args!(
            "{:<34} {:>12} {:>12} {:>14} {:>14}",
            text.to_string(),
            layer.output.to_string(),
            grouped((layer.weight.len() + layer.bias.len()) as u64),
            grouped(layer.forward_flops()),
            grouped(layer.backward_flops(index == 0)),
        ))?;
    }
    let (forward, training) = (network.forward_flops(), network.training_flops());
    line(format_args!(
        "{:<34} {:>12} {:>12} {:>14} {:>14}",
        "together",
        "",
        grouped(network.parameter_count() as u64),
        grouped(forward),
        grouped(training - forward)
    ))?;
    line(format_args!(""))?;
    line(format_args!(
        "An image takes {:.2} MFLOP forward and {:.2} MFLOP in training; the weights take {} bytes.",
        forward as f64 / 1e6,
        training as f64 / 1e6,
        grouped(4 * network.parameter_count() as u64)
    ))?;
    line(format_args!(
        "Multiplications and additions are counted; the first layer needs no gradient by its input."
    ))?;
    Ok(())
}
