//! `longhand test`: a model on the test set.

use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};

use super::{DataArgs, EngineArgs, Failure, ModelArgs};
use crate::report::canvas::PictureError;
use crate::report::grid::{Cell, grid};
use crate::report::{Confusion, grouped, line, percent};
use longhand::data::Dataset;
use longhand::files::{remove, write_whole};
use longhand::layers::cross_entropy::reference::{argmax, forward, softmax};
use ndarray::Array2;
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Folder for the confusion matrix and the worst mistakes as pictures, and all predictions as
    /// CSV
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// The most mistakes that are shown, and how many side by side.
const MISTAKES: usize = 24;
const COLUMNS: usize = 6;

pub fn run(args: &Args) -> Result<(), Failure> {
    let model = args.model.open()?;
    if let Some(folder) = &args.out {
        // Before anything is computed, so that a folder that cannot be made is known at once.
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    }
    let data = args.data.open()?;
    let mut engine = args.engine.load(&model, data.test.len())?;
    model.network.check_classes(data.test.classes())?;
    let logits = engine.predict(data.test.images())?;
    let confusion = Confusion::of(&logits, &data.test);
    let metrics = confusion.metrics;
    let written = match &args.out {
        Some(folder) => Some(write(folder, &confusion, &logits, &data.test)?),
        None => None,
    };

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
        let own_name = match data.class_names.get(class) {
            Some(name) if *name != class.to_string() => name.as_str(),
            _ => model.own_class_name(class).unwrap_or_default(),
        };
        let text = format!("{class:>5} {images:>8} {right:>8} {accuracy:>10}  {own_name}");
        line(format_args!("{}", text.trim_end()))?;
    }
    line(format_args!(""))?;
    line(format_args!(
        "confusion (a row a label, a column an answer)"
    ))?;
    for row in confusion.lines() {
        line(format_args!("{row}"))?;
    }
    if let Some(written) = written {
        line(format_args!("{written}"))?;
    }
    Ok(())
}

/// Writes what `--out` asks for, and says what that is.
fn write(
    folder: &Path,
    confusion: &Confusion,
    logits: &Array2<f32>,
    data: &Dataset,
) -> Result<String, Failure> {
    let save = |name: &str, contents: &[u8]| {
        let path = folder.join(name);
        write_whole(&path, contents).map_err(|error| failed(&path, &error))
    };
    let picture = confusion.picture()?;
    save("confusion.svg", picture.svg.as_bytes())?;
    save("confusion.png", &picture.png)?;
    save("predictions.csv", predictions(logits, data).as_bytes())?;
    let files = "confusion.svg, confusion.png, predictions.csv";
    let folder_name = folder.display();
    match mistakes(logits, data)? {
        Some(png) => {
            save("mistakes.png", &png)?;
            Ok(format!("{folder_name}: {files}, mistakes.png"))
        }
        None => {
            // That of another model would be taken for this one's.
            let path = folder.join("mistakes.png");
            remove(&path).map_err(|error| failed(&path, &error))?;
            Ok(format!("{folder_name}: {files}; no mistake to show"))
        }
    }
}

fn failed(path: &Path, error: &dyn fmt::Display) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()).into())
}

/// What the network said of every image, in digits that give the same numbers again.
fn predictions(logits: &Array2<f32>, data: &Dataset) -> String {
    let mut csv = "image,label,answer,loss".to_owned();
    let put = |csv: &mut String, text: fmt::Arguments| {
        csv.write_fmt(text).expect("a String takes any text");
    };
    for class in 0..logits.ncols() {
        put(&mut csv, format_args!(",logit_{class}"));
    }
    for (image, (logits, &label)) in logits.outer_iter().zip(data.labels()).enumerate() {
        let logits = logits.to_vec();
        let (answer, loss) = (argmax(&logits), forward(&logits, usize::from(label), 0.0));
        put(
            &mut csv,
            format_args!("\n{image},{label},{answer},{loss:?}"),
        );
        for logit in logits {
            put(&mut csv, format_args!(",{logit:?}"));
        }
    }
    csv.push('\n');
    csv
}

/// The wrong answers with the highest loss, as a PNG, or `None` if all are right.
fn mistakes(logits: &Array2<f32>, data: &Dataset) -> Result<Option<Vec<u8>>, PictureError> {
    let mut worst = Vec::new();
    for (image, (logits, &label)) in logits.outer_iter().zip(data.labels()).enumerate() {
        let logits = logits.to_vec();
        let answer = argmax(&logits);
        if answer != usize::from(label) {
            let mut probabilities = vec![0.0; logits.len()];
            softmax(&logits, &mut probabilities);
            let confidence = 100.0 * probabilities[answer];
            let caption = format!("#{image}: {answer}, not {label}\n{confidence:.1} %");
            worst.push((forward(&logits, usize::from(label), 0.0), image, caption));
        }
    }
    worst.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
    worst.truncate(MISTAKES);
    let cells: Vec<Cell> = worst
        .into_iter()
        .map(|(_, image, caption)| Cell {
            shape: data.images().shape(),
            image: data.images().image(image),
            caption,
        })
        .collect();
    let png = (!cells.is_empty()).then(|| grid(&cells, COLUMNS));
    png.transpose()
}
