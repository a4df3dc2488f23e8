//! `longhand gradcheck`: gradients against finite differences, and an engine against the
//! reference.

use super::{EngineArgs, Failure, NetworkArg};
use crate::report::{line, note};
use longhand::data::Normalisation;
use longhand::engines::check::{self, Case};
use longhand::network::{Network, Preset};

#[derive(clap::Args)]
pub struct Args {
    /// A preset (tutorial, lenet5, mlp), a text, or @FILE [default: tutorial]
    #[arg(long, value_parser = NetworkArg::parse)]
    network: Option<NetworkArg>,
    #[command(flatten)]
    engine: EngineArgs,
    /// What input, weights and upstream gradient are drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Central differences in f64 lose half the digits.
const DIFFERENCES: f64 = 1e-6;

/// f32 has a precision of 6e-8; sums of hundreds of products lose two digits.
const REFERENCE: f64 = 1e-5;

/// Images in a case.
const IMAGES: usize = 5;

/// Places of each tensor that are moved.
const PLACES: usize = 40;

pub fn run(args: &Args) -> Result<(), Failure> {
    let [default, ..] = Preset::ALL;
    let description = match &args.network {
        Some(network) => network.description(10)?,
        None => default.description(10),
    };
    let input = description.input.unwrap_or([1, 28, 28]);
    let network = Network::new(&description, Some(input))?;
    let case = Case::draw(&network, IMAGES, args.seed)?;
    let normalisation = Normalisation::none(input[0]);
    let mut engine = args.engine.open(network.clone(), normalisation)?;

    line(format_args!("{network}"))?;
    line(format_args!(
        "{IMAGES} random images, seed {}; the nearest kink of a ReLU or maximum is {:.1e} away",
        args.seed, case.margin
    ))?;
    line(format_args!(""))?;
    line(format_args!(
        "gradients of the reference in f64 against finite differences"
    ))?;
    let mut rows = check::finite_differences(&network, &case, PLACES)?;
    rows.push(check::cross_entropy_differences(10, 0.0, args.seed));
    let mut failures = table(&rows, DIFFERENCES)?;
    line(format_args!(""))?;
    line(format_args!(
        "output and gradients of {} in f32 against the reference in f64",
        engine.name()
    ))?;
    let rows = check::against_reference(engine.as_mut(), &case)?;
    failures += table(&rows, REFERENCE)?;
    if failures > 0 {
        note(format_args!("{failures} tensors are wrong"));
        return Err(Failure::Reported);
    }
    Ok(())
}

/// Prints the errors, and counts those above `tolerance`.
fn table(rows: &[check::TensorError], tolerance: f64) -> Result<usize, Failure> {
    let mut failures = 0;
    for row in rows {
        // Written so that NaN is wrong.
        let right = row.error <= tolerance;
        failures += usize::from(!right);
        line(format_args!(
            "  {:<18} {:>7} numbers  error {:>8.1e}  {}",
            row.name,
            row.compared,
            row.error,
            if right { "right" } else { "WRONG" }
        ))?;
    }
    line(format_args!(
        "  (relative to the largest number of the tensor; at most {tolerance:.0e})"
    ))?;
    Ok(failures)
}
