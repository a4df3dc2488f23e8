//! `longhand predict`: which class a picture shows.

use std::io;
use std::path::PathBuf;

use super::{EngineArgs, Failure, ModelArgs};
use crate::report::{bar, line, note, percent};
use longhand::data::Images;
use longhand::engines::Engine;
use longhand::layers::cross_entropy::reference::{argmax, softmax};
use longhand::pictures;
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    /// Pictures, PNG or JPEG, of any size: light strokes on a dark ground, as in MNIST; `-` reads
    /// one from stdin
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print one JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

/// The brightest that a picture of light strokes on a dark ground is on average, from 0 to 1.
/// The lightest image of MNIST has 0.42.
const DARK_GROUND: f64 = 0.5;

pub fn run(args: &Args) -> Result<(), Failure> {
    let model = args.model.open()?;
    let mut engine = args.engine.load(&model, 1)?;
    let mut failed = false;
    for path in &args.images {
        let picture = if path.as_os_str() == "-" {
            pictures::read("stdin", io::stdin().lock(), model.network.input())
        } else {
            pictures::open(path, model.network.input())
        };
        let picture = match picture {
            Ok(picture) => picture,
            // The other pictures can still be read.
            Err(error) => {
                note(format_args!("error: {error}"));
                failed = true;
                continue;
            }
        };
        let name = path.display().to_string();
        if brightness(&picture) > DARK_GROUND {
            note(format_args!(
                "note: {name} is bright; the network learned light strokes on a dark ground, \
                 so inverting the picture may help"
            ));
        }
        let probabilities = probabilities(engine.as_mut(), &picture)?;
        let digit = argmax(&probabilities);
        if args.json {
            let mut result = json!({"image": name, "digit": digit, "probabilities": probabilities});
            if let Some(class) = model.own_class_name(digit) {
                result["class"] = class.into();
            }
            line(format_args!("{result}"))?;
            continue;
        }
        match model.own_class_name(digit) {
            Some(class) => line(format_args!("{name}: {digit} ({class})"))?,
            None => line(format_args!("{name}: {digit}"))?,
        }
        let mut classes: Vec<usize> = (0..probabilities.len()).collect();
        classes.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        for class in classes.into_iter().take(3) {
            let share = f64::from(probabilities[class]);
            let own_name = model.own_class_name(class).unwrap_or_default();
            let text = format!(
                "  {class}  {:>8}  {:<30} {own_name}",
                percent(share),
                bar(share, 30)
            );
            line(format_args!("{}", text.trim_end()))?;
        }
    }
    if failed {
        Err(Failure::Reported)
    } else {
        Ok(())
    }
}

/// The mean of all pixels, from 0 to 1.
fn brightness(picture: &Images) -> f64 {
    let sum: f64 = picture.bytes().iter().map(|&byte| f64::from(byte)).sum();
    sum / 255.0 / picture.bytes().len() as f64
}

fn probabilities(engine: &mut dyn Engine, picture: &Images) -> Result<Vec<f32>, Failure> {
    let logits = engine.predict(picture)?.into_raw_vec_and_offset().0;
    let mut probabilities = vec![0.0; logits.len()];
    softmax(&logits, &mut probabilities);
    if !probabilities.iter().all(|p| p.is_finite()) {
        let message = "the network's answer is not a number: its weights are too large";
        return Err(Failure::Failed(message.into()));
    }
    Ok(probabilities)
}
