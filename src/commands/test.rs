//! `longhand test`: a model on the test set.

use super::{DataArgs, EngineArgs, Failure, ModelArgs};
use crate::report::{Confusion, grouped, line, percent};
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let model = args.model.open()?;
    let data = args.data.open()?;
    let mut engine = args.engine.load(&model)?;
    model.network.check_classes(data.test.classes())?;
    let logits = engine.predict(data.test.images())?;
    let confusion = Confusion::of(&logits, &data.test);
    let metrics = confusion.metrics;

    if args.json {
        let result = json!({
            "images": metrics.examples,
            "correct": metrics.correct,
            "accuracy": metrics.accuracy(),
            "loss": metrics.loss(),
            "confusion": confusion.counts,
        });
        line(format_args!("{result}"))?;
        return Ok(());
    }

    let [low, high] = confusion.interval();
    line(format_args!(
        "{}: {} of {} test images right",
        data.name,
        grouped(metrics.correct as u64),
        grouped(metrics.examples as u64)
    ))?;
    line(format_args!(
        "accuracy {} (95 % interval: {} to {})",
        percent(metrics.accuracy()),
        percent(low),
        percent(high)
    ))?;
    line(format_args!("loss     {:.4}", metrics.loss()))?;
    line(format_args!(""))?;
    line(format_args!("class   images    right   accuracy"))?;
    for class in 0..confusion.counts.len() {
        let [images, right] = confusion.class(class);
        let accuracy = match images {
            0 => "-".to_owned(),
            _ => percent(right as f64 / images as f64),
        };
        let (images, right) = (grouped(images as u64), grouped(right as u64));
        line(format_args!(
            "{class:>5} {images:>8} {right:>8} {accuracy:>10}"
        ))?;
    }
    line(format_args!(""))?;
    line(format_args!(
        "confusion (a row a label, a column an answer)"
    ))?;
    for row in confusion.lines() {
        line(format_args!("{row}"))?;
    }
    Ok(())
}
