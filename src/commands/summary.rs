//! `longhand summary`: a network, layer by layer, or as a PyTorch program.

use std::num::NonZeroU32;
use std::path::PathBuf;

use super::{Failure, ModelArgs, NetworkArg, network_alone};
use crate::report::{bytes, drawn, grouped, line};
use longhand::data::Normalisation;
use longhand::engines::lanes::Settings;
use longhand::engines::lanes::plan::plan;
use longhand::formats::pytorch_program;
use longhand::hardware::lanes::Path;
use longhand::network::{LayerText, Network};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub struct Args {
    /// A preset (tutorial, lenet5, mlp), a text, or @FILE [default: tutorial]
    #[arg(long, value_parser = NetworkArg::parse)]
    network: Option<NetworkArg>,
    /// The network of these weights: a safetensors file, or `builtin`
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Images in the training step whose memory is shown
    #[arg(long, value_name = "N", default_value = "32")]
    batch_size: NonZeroU32,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Print a PyTorch program with this network instead, which loads its weights and reads
    /// pictures
    #[arg(long, conflicts_with_all = ["json", "batch_size"])]
    pytorch: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let (network, normalisation) = open(args)?;
    if args.pytorch {
        let program = pytorch_program::program(&network, &normalisation);
        drawn(program.trim_end())?;
        return Ok(());
    }
    let memory = Memory::of(&network, args.batch_size);
    if args.json {
        line(format_args!("{}", json(&network, &memory)?))?;
        return Ok(());
    }
    print_layers(&network)?;
    print_memory(&memory)
}

/// The network, and how its pictures are normalised.
fn open(args: &Args) -> Result<(Network, Normalisation), Failure> {
    if let Some(model) = &args.model {
        let args = ModelArgs {
            model: Some(model.clone()),
            network: args.network.clone(),
        };
        let model = args.open()?;
        return Ok((model.network, model.normalisation));
    }
    let network = network_alone(args.network.as_ref())?;
    let normalisation = Normalisation::assumed(network.input()[0]);
    Ok((network, normalisation))
}

/// The bytes that a training step takes, all numbers being `f32`. What an engine needs beside
/// them is its own affair.
struct Memory {
    batch_size: NonZeroU32,
    /// Parameters; their gradients and SGD's velocity take as much each.
    parameters: u64,
    /// Input and every layer's output; their gradients take as much.
    activations: u64,
}

impl Memory {
    fn of(network: &Network, batch_size: NonZeroU32) -> Self {
        let images = u64::from(batch_size.get());
        Self {
            batch_size,
            parameters: 4 * network.parameter_count() as u64,
            activations: 4 * network.activation_elements() * images,
        }
    }

    fn total(&self) -> u64 {
        3 * self.parameters + 2 * self.activations
    }
}

fn json(network: &Network, memory: &Memory) -> Result<Value, Failure> {
    let texts = &network.description().layers;
    let layers: Vec<Value> = (network.layers().iter().zip(texts).enumerate())
        .map(|(index, (layer, text))| {
            json!({
                "layer": text.to_string(),
                "name": network.module_name(index),
                "output": layer.output.sizes(),
                "parameters": layer.weight.len() + layer.bias.len(),
                "forward_flops": layer.forward_flops(),
                "backward_flops": layer.backward_flops(network.trains_before(index)),
            })
        })
        .collect();
    let forward = network.forward_flops();
    let (path, stages) = stages(network)?;
    let stages: Vec<Value> = stages
        .into_iter()
        .map(|(layers, way)| json!({"layers": layers, "way": way}))
        .collect();
    Ok(json!({
        "network": network.to_string(),
        "input": network.input(),
        "layers": layers,
        "parameters": network.parameter_count(),
        "forward_flops": forward,
        "backward_flops": network.training_flops() - forward,
        "memory": {
            "batch_size": memory.batch_size,
            "parameters": memory.parameters,
            "gradients": memory.parameters,
            "velocity": memory.parameters,
            "activations": memory.activations,
            "activation_gradients": memory.activations,
            "total": memory.total(),
        },
        "lanes": {"path": path.name(), "images": path.width(), "stages": stages},
    }))
}

/// What engine `lanes` makes of the network: by which instructions, and the way of every stage.
fn stages(network: &Network) -> Result<(Path, Vec<(String, String)>), Failure> {
    let Settings { path, convolutions } =
        Settings::from_environment().map_err(longhand::Error::from)?;
    let texts = &network.description().layers;
    let stages = plan(network, path.width(), convolutions).into_iter();
    let stages = stages.map(|stage| {
        let layers = &texts[stage.layer..][..stage.layers()];
        let layers: Vec<String> = layers.iter().map(LayerText::to_string).collect();
        (layers.join(", "), stage.to_string())
    });
    Ok((path, stages.collect()))
}

fn print_layers(network: &Network) -> Result<(), Failure> {
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
            grouped(layer.backward_flops(network.trains_before(index))),
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
    let (path, stages) = stages(network)?;
    line(format_args!(
        "Engine lanes computes it by {path}, {} images at a time:",
        path.width()
    ))?;
    for (layers, way) in stages {
        line(format_args!("  {layers:<42} {way}"))?;
    }
    line(format_args!(""))?;
    line(format_args!(
        "An image takes {:.2} MFLOP forward and {:.2} MFLOP in training; the weights take {} bytes.",
        forward as f64 / 1e6,
        training as f64 / 1e6,
        grouped(4 * network.parameter_count() as u64)
    ))?;
    line(format_args!(
        "Multiplications and additions are counted; the first layer with parameters needs no gradient \
         by its input."
    ))?;
    Ok(())
}

fn print_memory(memory: &Memory) -> Result<(), Failure> {
    line(format_args!(""))?;
    line(format_args!(
        "memory of a training step, batch size {}, every number 4 bytes",
        grouped(memory.batch_size.get().into())
    ))?;
    for (what, count) in [
        ("parameters", memory.parameters),
        ("their gradients", memory.parameters),
        ("SGD's velocity", memory.parameters),
        ("activations", memory.activations),
        ("their gradients", memory.activations),
        ("together", memory.total()),
    ] {
        let (exact, short) = (grouped(count), bytes(count));
        line(format_args!("  {what:<16} {exact:>18} bytes {short:>10}"))?;
    }
    Ok(())
}
