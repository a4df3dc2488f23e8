//! The README's commands, typed as they stand, in a folder with what they name.

#![cfg(all(feature = "cli", feature = "mnist"))]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use longhand::data::{Dataset, Elements, Idx, mnist};

/// The commands of the program in the README's blocks of code, comments taken off.
fn commands() -> Vec<String> {
    let readme = include_str!("../README.md");
    let lines = readme.lines().filter_map(|line| {
        let line = line.strip_prefix("    ")?;
        let words = line
            .strip_prefix("cargo run --release -- ")
            .or_else(|| line.strip_prefix("longhand "))?;
        let words = words.split(" #").next().unwrap_or_default();
        Some(words.trim().to_owned())
    });
    lines.collect()
}

/// The words of a command as a shell has them: parted by spaces, but not within quotes.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('"').enumerate();
    let words = parts.flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

fn write_idx(path: &Path, sizes: Vec<usize>, bytes: &[u8]) {
    let idx = Idx {
        sizes,
        elements: Elements::U8(bytes.to_vec().into()),
    };
    let mut file = Vec::new();
    idx.write("", &mut file).unwrap();
    fs::write(path, file).unwrap();
}

fn write_set(folder: &Path, part: &str, set: &Dataset) {
    let images = folder.join(format!("{part}-images-idx3-ubyte"));
    write_idx(&images, vec![set.len(), 28, 28], set.images().bytes());
    let labels = folder.join(format!("{part}-labels-idx1-ubyte"));
    write_idx(&labels, vec![set.len()], set.labels());
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(path.join("data/pictures")).unwrap();
    let picture = "data/pictures/three.png";
    fs::copy(checkout.join(picture), path.join(picture)).unwrap();
    fs::write(
        path.join("my-network.txt"),
        "conv2d 4 5 stride=2, relu\nflatten\ndropout 0.2\nlinear 10 # classes\n",
    )
    .unwrap();
    let data = mnist().unwrap();
    fs::create_dir(path.join("DIR")).unwrap();
    write_set(
        &path.join("DIR"),
        "train",
        &data.train.slice(0..300).unwrap(),
    );
    write_set(&path.join("DIR"), "t10k", &data.test.slice(0..100).unwrap());

    for class in ["cat", "dog"] {
        let folder = path.join("PICTURES").join(class);
        fs::create_dir_all(&folder).unwrap();
        for n in 1..4 {
            fs::copy(checkout.join(picture), folder.join(format!("{n}.png"))).unwrap();
        }
    }

    let commands = commands();
    assert!(commands.len() >= 14, "{commands:?}");
    for command in &commands {
        Command::new(cargo_bin!("longhand"))
            .args(words(command))
            .current_dir(path)
            .env_remove("NO_COLOR")
            .assert()
            .success();
    }
    // What the page says of the first run.
    for file in [
        "model.safetensors",
        "history.csv",
        "run.json",
        "curves.svg",
        "curves.png",
    ] {
        assert!(path.join("runs/1").join(file).is_file(), "{file}");
    }
    for file in [
        "samples.png",
        "report/confusion.png",
        "report/mistakes.png",
        "report/predictions.csv",
        "MINE/classes.txt",
        "net.onnx",
    ] {
        assert!(path.join(file).is_file(), "{file}");
    }
}

/// A link to a file that is not there helps nobody.
#[test]
fn every_file_that_the_readme_names_is_there() {
    let readme = include_str!("../README.md");
    let mut links = 0;
    for link in readme.split("](").skip(1) {
        let target = link.split(')').next().unwrap();
        if !target.starts_with("http") {
            links += 1;
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(target);
            assert!(path.exists(), "{target}");
        }
    }
    assert!(links > 20);
}
