//! `longhand import`: a folder of pictures as a training set.

use std::path::PathBuf;

use super::Failure;
use crate::report::{grouped, line};
use longhand::data::dataset::MAX_PIXELS;
use longhand::pictures::import::{FILES, Options, import};

#[derive(clap::Args)]
pub struct Args {
    /// Folder with a folder of pictures, PNG or JPEG, for each class; or with such folders in
    /// `train` and `test`
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Folder for the four IDX files and the classes' names
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Height and width of the images, one number or HEIGHTxWIDTH
    #[arg(long, value_name = "SIZE", default_value = "28", value_parser = size)]
    size: [usize; 2],
    /// Images in colour, of three channels
    #[arg(long)]
    rgb: bool,
    /// The share of every class that becomes the test set
    #[arg(long, value_name = "X", default_value = "0.2", value_parser = share)]
    #[arg(allow_negative_numbers = true)]
    test: f64,
    /// What the test set is drawn from
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Replace the files that are in --out
    #[arg(long)]
    overwrite: bool,
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let side = |text: &str| text.parse::<usize>().ok().filter(|side| *side > 0);
    match (side(height), side(width)) {
        (Some(height), Some(width)) if height.saturating_mul(width) <= MAX_PIXELS / 3 => {
            Ok([height, width])
        }
        _ => Err(format!(
            "it must be a number such as 28, or 28x20, of at most {} pixels",
            MAX_PIXELS / 3
        )),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number < 1.0 => Ok(number),
        _ => Err("it must be a number above 0 and below 1".to_owned()),
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let [height, width] = args.size;
    let options = Options {
        shape: [if args.rgb { 3 } else { 1 }, height, width],
        test: args.test,
        seed: args.seed,
    };
    let imported = import(&args.folder, &options)?;
    let count = |labels: &[u8], class: usize| {
        let of_class = labels.iter().filter(|&&label| usize::from(label) == class);
        grouped(of_class.count() as u64)
    };
    let classes = imported
        .class_names
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let [train, test] =
                [&imported.train, &imported.test].map(|part| count(&part.labels, class));
            format!("{class:>5}  {train:>8} {test:>8}  {name}")
        });
    let classes: Vec<_> = classes.collect();
    imported.write(&args.out, args.overwrite)?;
    line(format_args!("class  training     test"))?;
    for class in classes {
        line(format_args!("{class}"))?;
    }
    let folder = args.out.display();
    line(format_args!("{folder}: {}", FILES.join(", ")))?;
    Ok(())
}
