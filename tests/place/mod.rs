//! A folder in which the program runs as a process, for the tests of its commands.
#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use assert_cmd::cargo::cargo_bin;
use image::{GrayImage, Luma};
use longhand::data::{Elements, Idx};
use serde_json::Value;
use tempfile::TempDir;

pub const COLUMNS: [&str; 7] = [
    "epoch",
    "seconds",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "lr",
];

pub const RUN_FILES: [&str; 7] = [
    ".lock",
    "curves.png",
    "curves.svg",
    "history.csv",
    "model.safetensors",
    "run.json",
    "state.safetensors",
];

pub const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

pub const NETWORK: &str = "input 1x8x8, conv2d 2 3, relu, max_pool2d 2, flatten, linear 4";

pub const TRAIN: &str = "train --data data --network @net";

/// A folder of a test's own, in which the program runs. It holds `data`, a set of 200 training
/// and 50 test images of four classes, and `net`, the text of a network for it.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let place = Self { folder };
        place.write_data("data", "");
        fs::write(place.path("net"), NETWORK).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the four files into `folder`, their names after `prefix`.
    pub fn write_data(&self, folder: &str, prefix: &str) {
        let folder = self.path(folder);
        fs::create_dir_all(&folder).unwrap();
        let images = |range: std::ops::Range<usize>| Idx {
            sizes: vec![range.len(), 8, 8],
            elements: Elements::U8(range.flat_map(pixels).collect()),
        };
        let labels = |range: std::ops::Range<usize>| Idx {
            sizes: vec![range.len()],
            elements: Elements::U8(range.map(|n| (n % 4) as u8).collect()),
        };
        let contents = [
            images(0..200),
            labels(0..200),
            images(200..250),
            labels(200..250),
        ];
        for (name, idx) in FILES.iter().zip(contents) {
            let mut bytes = Vec::new();
            idx.write(name, &mut bytes).unwrap();
            fs::write(folder.join(format!("{prefix}{name}")), bytes).unwrap();
        }
    }

    /// Writes the picture of an image that is in neither set.
    pub fn write_picture(&self, name: &str, class: usize) {
        let pixels = pixels(1000 + class);
        let picture = GrayImage::from_fn(8, 8, |x, y| Luma([pixels[(8 * y + x) as usize]]));
        picture.save(self.path(name)).unwrap();
    }

    /// The program with the words of `line` as its arguments.
    pub fn longhand(&self, line: &str) -> Command {
        Command::from_std(self.process(line))
    }

    /// The same, for tests that set up its streams by themselves.
    pub fn process(&self, line: &str) -> Process {
        let mut process = Process::new(cargo_bin!("longhand"));
        process
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            // What it does without a GPU is tested on a machine with one, too.
            .env("CUDA_VISIBLE_DEVICES", "")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env_remove("COLORTERM")
            .env_remove("RUST_BACKTRACE");
        process
    }

    /// A shell in the folder that does `before`, and then becomes the program with the words of `line`.
    pub fn shell(&self, before: &str, line: &str) -> Process {
        let program = cargo_bin!("longhand").display();
        let mut shell = Process::new("sh");
        shell
            .args(["-c", &format!("{before}; exec {program} {line}")])
            .current_dir(self.folder.path())
            .env("CUDA_VISIBLE_DEVICES", "");
        shell
    }

    pub fn succeeds(&self, line: &str) -> Assert {
        self.longhand(line).assert().success()
    }

    /// Trains two epochs with `flags`.
    pub fn train(&self, flags: &str) -> Assert {
        self.succeeds(&format!("{TRAIN} --epochs 2 {flags}"))
    }

    /// Trains until the classes are told apart, into `run`.
    pub fn train_well(&self) {
        self.train_as("--epochs 20 --lr 0.1 --out run");
    }

    /// Trains with `flags`, and returns the hash that is printed.
    pub fn train_as(&self, flags: &str) -> String {
        hash(&self.succeeds(&format!("{TRAIN} {flags}")))
    }

    /// Runs `line`, which must fail with `status` and say all of `words` on stderr.
    pub fn fails(&self, status: i32, line: &str, words: &[&str]) {
        failed(self.longhand(line).assert(), status, words);
    }

    /// `run.json` of a run's folder.
    pub fn run(&self, folder: &str) -> Value {
        let path = self.path(folder).join("run.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// The rows of `history.csv` of a run's folder, under the columns that it must have.
    pub fn history(&self, folder: &str) -> Vec<Vec<f64>> {
        let csv = fs::read_to_string(self.path(folder).join("history.csv")).unwrap();
        let mut lines = csv.lines();
        assert_eq!(lines.next(), Some(COLUMNS.join(",").as_str()));
        lines
            .map(|line| {
                let row: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
                assert_eq!(row.len(), COLUMNS.len());
                row
            })
            .collect()
    }

    pub fn model(&self, folder: &str) -> Vec<u8> {
        fs::read(self.path(folder).join("model.safetensors")).unwrap()
    }

    /// What `longhand test --json` says with `flags`.
    pub fn test_json(&self, flags: &str) -> Value {
        let line = format!("test --data data --json {flags}");
        serde_json::from_str(&stdout(&self.succeeds(&line))).unwrap()
    }
}

/// The 8x8 pixels of image `n`: class `n % 4` is a light bar on two of the eight rows, under
/// noise.
pub fn pixels(n: usize) -> Vec<u8> {
    let pixel = |place: usize| {
        let noise = (n as u32 * 64 + place as u32).wrapping_mul(2_654_435_761) >> 25;
        let light = if place / 16 == n % 4 { 120 } else { 0 };
        (light + noise) as u8
    };
    (0..64).map(pixel).collect()
}

pub fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

pub fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

pub fn failed(assert: Assert, status: i32, words: &[&str]) {
    let assert = assert.code(status);
    let stderr = stderr(&assert);
    for word in words {
        assert!(stderr.contains(word), "no `{word}` in: {stderr}");
    }
    for word in ["panicked", "RUST_BACKTRACE"] {
        assert!(!stderr.contains(word), "{stderr}");
    }
}

/// The SHA-256 that training prints.
pub fn hash(assert: &Assert) -> String {
    let stdout = stdout(assert);
    let hash = stdout
        .lines()
        .find_map(|line| line.strip_prefix("weights SHA-256 "));
    let hash = hash.expect("a line with the hash").to_owned();
    assert_eq!(hash.len(), 64);
    hash
}

/// The names of the files in `folder`, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A stream that nobody reads any more.
pub fn closed_pipe() -> io::PipeWriter {
    let (_, writer) = io::pipe().unwrap();
    writer
}

pub fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-5
}
