//! `longhand show`: labelled images of the data, in the terminal or as a picture.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{DataArgs, Failure};
use crate::report::blocks::{self, Captioned, Ink};
use crate::report::grid::{Cell, grid};
use crate::report::{drawn, grouped, line, plain, terminal_size};
use longhand::data::{Data, Dataset, class_names};
use longhand::files::write_whole;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Which images
    #[arg(long, value_enum, default_value = "train")]
    split: Split,
    /// The first image to look at, counted from 0
    #[arg(long, value_name = "INDEX", default_value = "0")]
    start: usize,
    /// How many images at most
    #[arg(long, value_name = "N", default_value = "12")]
    count: NonZeroUsize,
    /// Only images with this label
    #[arg(long, value_name = "LABEL")]
    class: Option<usize>,
    /// Write a PNG of them instead
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    out: Option<PathBuf>,
    /// Print one JSON object a line instead of pictures
    #[arg(long)]
    json: bool,
}

/// A part of the data.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Split {
    /// What a network learns from
    Train,
    /// What it is measured on
    Test,
}

impl Split {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let data = args.data.open()?;
    let set = match args.split {
        Split::Train => &data.train,
        Split::Test => &data.test,
    };
    let indices = choose(args, set).map_err(|reason| Failure::Failed(reason.into()))?;
    if args.json {
        print_json(&data, set, args.split, &indices)
    } else if let Some(path) = &args.out {
        write_picture(&data, set, &indices, path)
    } else {
        print_blocks(&data, set, &indices)
    }
}

/// The images that are asked for, at least one; or why there is none.
fn choose(args: &Args, set: &Dataset) -> Result<Vec<usize>, String> {
    let (start, split) = (args.start, args.split.name());
    if start >= set.len() {
        return Err(format!(
            "--start {start}: the {split} images are 0 to {}",
            set.len() - 1
        ));
    }
    if let Some(class) = args.class.filter(|&class| class >= set.classes()) {
        return Err(format!(
            "--class {class}: the classes are 0 to {}",
            set.classes() - 1
        ));
    }
    let wanted = |&index: &usize| {
        let label = usize::from(set.labels()[index]);
        args.class.is_none_or(|class| class == label)
    };
    let indices = (start..set.len()).filter(wanted).take(args.count.get());
    let indices: Vec<usize> = indices.collect();
    match args.class {
        Some(class) if indices.is_empty() => Err(format!(
            "no {split} image from {start} on is of class {class}"
        )),
        _ => Ok(indices),
    }
}

/// What stands above an image.
fn caption(set: &Dataset, names: &[String], index: usize) -> String {
    let label = usize::from(set.labels()[index]);
    format!("#{index}: {}", plain(&names[label]))
}

fn print_blocks(data: &Data, set: &Dataset, indices: &[usize]) -> Result<(), Failure> {
    let images: Vec<Captioned> = indices
        .iter()
        .map(|&index| Captioned {
            caption: caption(set, &data.class_names, index),
            shape: set.images().shape(),
            bytes: set.images().image(index),
        })
        .collect();
    let width = usize::from(terminal_size(io::stdout())[0]);
    for text in blocks::side_by_side(&images, width, Ink::of_stdout()) {
        drawn(&text)?;
    }
    Ok(())
}

fn write_picture(
    data: &Data,
    set: &Dataset,
    indices: &[usize],
    path: &Path,
) -> Result<(), Failure> {
    // The font has no letters but Latin ones.
    let latin = data.class_names.iter().all(|name| name.is_ascii());
    let names = match latin {
        true => data.class_names.clone(),
        false => class_names::numbers(set.classes()),
    };
    let cells: Vec<Cell> = indices
        .iter()
        .map(|&index| Cell {
            shape: set.images().shape(),
            image: set.images().image(index),
            caption: caption(set, &names, index),
        })
        .collect();
    // About as many columns as rows.
    let columns = (cells.len() as f64).sqrt().ceil() as usize;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!("{}: {error}", path.display()).into())
    };
    let png = grid(&cells, columns).map_err(|error| failed(&error))?;
    write_whole(path, &png).map_err(|error| failed(&error))?;
    line(format_args!(
        "{}: {} image{}",
        path.display(),
        grouped(cells.len() as u64),
        if cells.len() == 1 { "" } else { "s" }
    ))?;
    Ok(())
}

fn print_json(data: &Data, set: &Dataset, split: Split, indices: &[usize]) -> Result<(), Failure> {
    let [_, height, width] = set.images().shape();
    for &index in indices {
        let planes = set.images().image(index).chunks(height * width);
        let pixels: Vec<Vec<&[u8]>> = planes.map(|plane| plane.chunks(width).collect()).collect();
        let mut object = json!({
            "index": index,
            "label": set.labels()[index],
            "split": split.name(),
            "pixels": pixels,
        });
        let label = usize::from(set.labels()[index]);
        let name = &data.class_names[label];
        if *name != label.to_string() {
            object["class"] = name.as_str().into();
        }
        line(format_args!("{object}"))?;
    }
    Ok(())
}
