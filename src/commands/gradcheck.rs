//! `longhand gradcheck`: gradients against finite differences, and an engine against the
//! reference.

use super::{EngineArgs, Failure, NetworkArg, network_alone};
use crate::report::{line, note};
use longhand::data::Normalisation;
use longhand::engines::check::{self, Case, TensorError};
use longhand::engines::memory::Load;
use serde_json::{Value, json};

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
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
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
    let network = network_alone(args.network.as_ref())?;
    let normalisation = Normalisation::none(network.input()[0]);
    let load = Load {
        batch: IMAGES,
        images: IMAGES,
    };
    let mut engine = args.engine.open(network.clone(), normalisation, load)?;
    let case = Case::draw(&network, IMAGES, args.seed)?;

    let mut differences = check::finite_differences(&network, &case, PLACES)?;
    differences.push(check::cross_entropy_differences(10, 0.0, args.seed));
    let differences = Table {
        rows: differences,
        tolerance: DIFFERENCES,
    };
    let reference = Table {
        rows: check::against_reference(engine.as_mut(), &case)?,
        tolerance: REFERENCE,
    };
    let failures = differences.failures() + reference.failures();

    if args.json {
        let result = json!({
            "network": network.to_string(),
            "images": IMAGES,
            "seed": args.seed,
            "margin": case.margin,
            "engine": engine.name(),
            "finite_differences": differences.json(),
            "against_reference": reference.json(),
            "right": failures == 0,
        });
        line(format_args!("{result}"))?;
    } else {
        line(format_args!("{network}"))?;
        line(format_args!(
            "{IMAGES} random images, seed {}; the nearest kink of a ReLU or maximum is {:.1e} away",
            args.seed, case.margin
        ))?;
        line(format_args!(""))?;
        line(format_args!(
            "gradients of the reference in f64 against finite differences"
        ))?;
        differences.print()?;
        line(format_args!(""))?;
        line(format_args!(
            "output and gradients of {} in f32 against the reference in f64",
            engine.name()
        ))?;
        reference.print()?;
    }
    if failures > 0 {
        note(format_args!("{failures} tensors are wrong"));
        return Err(Failure::Reported);
    }
    Ok(())
}

/// The errors of some tensors, and the largest that is right.
struct Table {
    rows: Vec<TensorError>,
    tolerance: f64,
}

impl Table {
    /// Written so that NaN is wrong.
    fn is_right(&self, row: &TensorError) -> bool {
        row.error <= self.tolerance
    }

    fn failures(&self) -> usize {
        self.rows.iter().filter(|row| !self.is_right(row)).count()
    }

    fn json(&self) -> Value {
        let tensors = self.rows.iter().map(|row| {
            json!({
                "name": row.name,
                "compared": row.compared,
                "error": row.error,
                "right": self.is_right(row),
            })
        });
        json!({"tolerance": self.tolerance, "tensors": tensors.collect::<Vec<_>>()})
    }

    fn print(&self) -> Result<(), Failure> {
        for row in &self.rows {
            line(format_args!(
                "  {:<18} {:>7} numbers  error {:>8.1e}  {}",
                row.name,
                row.compared,
                row.error,
                if self.is_right(row) { "right" } else { "WRONG" }
            ))?;
        }
        line(format_args!(
            "  (relative to the largest number of the tensor; at most {:.0e})",
            self.tolerance
        ))?;
        Ok(())
    }
}
