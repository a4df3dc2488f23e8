//! The program as people run it: a process, its output, its status, and the files it leaves.

#![cfg(feature = "cli")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, SystemTime};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use assert_cmd::cargo::cargo_bin;
use image::{GrayImage, Luma};
use longhand::data::{Elements, Idx};
use longhand::digest;
use longhand::engines::EngineKind;
use longhand::model::Model;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use tempfile::TempDir;

const COLUMNS: [&str; 7] = [
    "epoch",
    "seconds",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "lr",
];

const RUN_FILES: [&str; 3] = ["history.csv", "model.safetensors", "run.json"];

const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

const NETWORK: &str = "input 1x8x8, conv2d 2 3, relu, max_pool2d 2, flatten, linear 4";

const TRAIN: &str = "train --data data --network @net";

/// A folder of a test's own, in which the program runs. It holds `data`, a set of 200 training
/// and 50 test images of four classes, and `net`, the text of a network for it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let place = Self { folder };
        place.write_data("data", "");
        fs::write(place.path("net"), NETWORK).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the four files into `folder`, their names after `prefix`.
    fn write_data(&self, folder: &str, prefix: &str) {
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
    fn write_picture(&self, name: &str, class: usize) {
        let pixels = pixels(1000 + class);
        let picture = GrayImage::from_fn(8, 8, |x, y| Luma([pixels[(8 * y + x) as usize]]));
        picture.save(self.path(name)).unwrap();
    }

    /// The program with the words of `line` as its arguments.
    fn longhand(&self, line: &str) -> Command {
        Command::from_std(self.process(line))
    }

    /// The same, for tests that set up its streams by themselves.
    fn process(&self, line: &str) -> Process {
        let mut process = Process::new(cargo_bin!("longhand"));
        process
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env_remove("RUST_BACKTRACE");
        process
    }

    fn succeeds(&self, line: &str) -> Assert {
        self.longhand(line).assert().success()
    }

    /// Trains two epochs with `flags`.
    fn train(&self, flags: &str) -> Assert {
        self.succeeds(&format!("{TRAIN} --epochs 2 {flags}"))
    }

    /// Trains until the classes are told apart, into `run`.
    fn train_well(&self) {
        self.train_as("--epochs 20 --lr 0.1 --out run");
    }

    /// Trains with `flags`, and returns the hash that is printed.
    fn train_as(&self, flags: &str) -> String {
        hash(&self.succeeds(&format!("{TRAIN} {flags}")))
    }

    /// Runs `line`, which must fail with `status` and say all of `words` on stderr.
    fn fails(&self, status: i32, line: &str, words: &[&str]) {
        failed(self.longhand(line).assert(), status, words);
    }

    /// `run.json` of a run's folder.
    fn run(&self, folder: &str) -> Value {
        let path = self.path(folder).join("run.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// The rows of `history.csv` of a run's folder, under the columns that it must have.
    fn history(&self, folder: &str) -> Vec<Vec<f64>> {
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

    fn model(&self, folder: &str) -> Vec<u8> {
        fs::read(self.path(folder).join("model.safetensors")).unwrap()
    }

    /// What `longhand test --json` says with `flags`.
    fn test_json(&self, flags: &str) -> Value {
        let line = format!("test --data data --json {flags}");
        serde_json::from_str(&stdout(&self.succeeds(&line))).unwrap()
    }
}

/// The 8x8 pixels of image `n`: class `n % 4` is a light bar on two of the eight rows, under
/// noise.
fn pixels(n: usize) -> Vec<u8> {
    let pixel = |place: usize| {
        let noise = (n as u32 * 64 + place as u32).wrapping_mul(2_654_435_761) >> 25;
        let light = if place / 16 == n % 4 { 120 } else { 0 };
        (light + noise) as u8
    };
    (0..64).map(pixel).collect()
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

fn failed(assert: Assert, status: i32, words: &[&str]) {
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
fn hash(assert: &Assert) -> String {
    let stdout = stdout(assert);
    let hash = stdout
        .lines()
        .find_map(|line| line.strip_prefix("weights SHA-256 "));
    let hash = hash.expect("a line with the hash").to_owned();
    assert_eq!(hash.len(), 64);
    hash
}

/// The names of the files in `folder`, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A stream that nobody reads any more.
fn closed_pipe() -> io::PipeWriter {
    let (_, writer) = io::pipe().unwrap();
    writer
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-5
}

// What each command prints.

#[test]
fn train_leaves_weights_history_and_record() {
    let place = Place::new();
    let assert = place.train("--out run --seed 7");
    assert_eq!(names(&place.path("run")), RUN_FILES);

    let history = place.history("run");
    let epochs: Vec<f64> = history.iter().map(|row| row[0]).collect();
    assert_eq!(epochs, [1.0, 2.0]);

    let run = place.run("run");
    assert_eq!(run["status"], "finished");
    assert_eq!(run["options"]["seed"], 7);
    assert_eq!(run["machine"]["engine"], "im2col");
    assert_eq!(run["network"], NETWORK);
    let command: Vec<&str> = run["command"].as_array().unwrap()[1..]
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let line = format!("{TRAIN} --epochs 2 --out run --seed 7");
    assert_eq!(command, line.split(' ').collect::<Vec<_>>());
    assert_eq!(run["result"]["weights_sha256"], hash(&assert));
    assert_eq!(run["result"]["epoch"], 2);
    for (file, name) in run["data"]["files"].as_array().unwrap().iter().zip(FILES) {
        let bytes = fs::read(place.path("data").join(name)).unwrap();
        let md5 = digest::md5(|to| to.write_all(&bytes)).unwrap();
        assert_eq!(file["md5"], md5, "{name}");
    }
}

#[test]
fn train_prints_a_line_an_epoch_then_the_result() {
    let place = Place::new();
    let assert = place.train("--out run");
    let text = stdout(&assert);
    let lines: Vec<&str> = text.lines().collect();
    let [first, second, accuracy, sha256, folder] = lines[..] else {
        panic!("five lines, not {text}");
    };
    assert!(first.starts_with("epoch 1/2 "), "{first}");
    assert!(second.starts_with("epoch 2/2 "), "{second}");
    let last = place.history("run")[1][5];
    let percent = format!("test accuracy {:.2} % after 2 epochs", 100.0 * last);
    assert!(accuracy.starts_with(&percent), "{accuracy}");
    let model = Model::open(&place.path("run/model.safetensors"), None).unwrap();
    let hash = digest::sha256(&model.parameters);
    assert_eq!(sha256, format!("weights SHA-256 {hash}"));
    assert_eq!(folder, "run: model.safetensors, history.csv, run.json");
    assert
        .stderr(contains(
            "data: 200 training images, 50 test images, 4 classes",
        ))
        .stderr(contains(NETWORK));
}

#[test]
fn train_json_is_one_object_an_epoch_with_the_columns_of_the_history() {
    let place = Place::new();
    let assert = place.train("--out run --json");
    let records: Vec<Value> = stdout(&assert)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let history = place.history("run");
    assert_eq!(records.len(), 2);
    for (record, row) in records.iter().zip(&history) {
        assert_eq!(record.as_object().unwrap().len(), COLUMNS.len());
        for (column, &value) in COLUMNS.iter().zip(row) {
            let found = record[column].as_f64().unwrap();
            // The history has three decimals of the seconds, six of the rest.
            assert!((found - value).abs() < 6e-4, "{column}: {found}, {value}");
        }
    }
}

#[test]
fn train_quiet_prints_only_the_result() {
    let place = Place::new();
    let assert = place.train("--quiet").stderr("");
    assert_eq!(stdout(&assert).lines().count(), 3);
    assert.stdout(contains("epoch 1/2").not());
}

#[test]
fn training_learns() {
    let place = Place::new();
    place.train_well();
    let history = place.history("run");
    let (first, last) = (&history[0], &history[19]);
    assert!(last[2] < first[2] / 2.0, "training loss: {history:?}");
    assert!(last[5] > 0.9, "test accuracy: {history:?}");
}

#[test]
fn test_agrees_with_itself_and_with_the_history() {
    let place = Place::new();
    place.train("--out run");
    let result = place.test_json("--model run/model.safetensors");
    let keys: BTreeSet<&str> = result
        .as_object()
        .unwrap()
        .keys()
        .map(|key| key.as_str())
        .collect();
    let expected = ["images", "correct", "accuracy", "loss", "confusion"];
    assert_eq!(keys, BTreeSet::from(expected));

    let confusion: Vec<Vec<u64>> = serde_json::from_value(result["confusion"].clone()).unwrap();
    let labels: Vec<u64> = confusion.iter().map(|row| row.iter().sum()).collect();
    assert_eq!(labels, [13, 13, 12, 12]);
    let correct: u64 = (0..4).map(|class| confusion[class][class]).sum();
    assert_eq!(result["images"], 50);
    assert_eq!(result["correct"], correct);
    let accuracy = result["accuracy"].as_f64().unwrap();
    assert!(close(accuracy, correct as f64 / 50.0));
    let last = &place.history("run")[1];
    assert!(close(result["loss"].as_f64().unwrap(), last[4]));
    assert!(close(accuracy, last[5]));

    place
        .succeeds("test --data data --model run/model.safetensors")
        .stdout(contains(format!("data: {correct} of 50 test images right")))
        .stdout(contains(format!("accuracy {:.2} %", 100.0 * accuracy)))
        .stdout(contains("confusion"));
}

#[test]
fn test_out_leaves_pictures_and_every_prediction() {
    let place = Place::new();
    place.train("--out run");
    let flags = "--model run/model.safetensors --out a/b";
    let text = stdout(&place.succeeds(&format!("test --data data {flags}")));
    let files = [
        "confusion.png",
        "confusion.svg",
        "mistakes.png",
        "predictions.csv",
    ];
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("a/b: "), "{text}");
    for file in files {
        assert!(last.contains(file), "{text}");
    }
    let folder = place.path("a/b");
    assert_eq!(names(&folder), files);
    let contents = files.map(|file| fs::read(folder.join(file)).unwrap());
    // With --json, one object and the same files.
    let result = place.test_json(flags);
    assert_eq!(
        files.map(|file| fs::read(folder.join(file)).unwrap()),
        contents
    );

    let model = Model::open(&place.path("run/model.safetensors"), None).unwrap();
    let kind = EngineKind::Auto;
    let mut engine =
        longhand::engines::open(kind, model.network, model.normalisation, None).unwrap();
    let state = longhand::engines::TrainingState::from_parameters(model.parameters);
    engine.load(&state).unwrap();
    let data = longhand::data::Data::open(&place.path("data"), None).unwrap();
    let logits = engine.predict(data.test.images()).unwrap();

    let csv = fs::read_to_string(folder.join("predictions.csv")).unwrap();
    let mut lines = csv.lines();
    let names = "image,label,answer,loss,logit_0,logit_1,logit_2,logit_3";
    assert_eq!(lines.next(), Some(names));
    let mut total = 0.0;
    let mut wrong = 0;
    for (image, line) in lines.enumerate() {
        let numbers: Vec<f32> = line
            .split(',')
            .map(|number| number.parse().unwrap())
            .collect();
        let label = data.test.labels()[image];
        assert_eq!(numbers[..2], [image as f32, f32::from(label)]);
        assert_eq!(numbers[4..], logits.row(image).to_vec());
        assert!(
            numbers[4..]
                .iter()
                .all(|&logit| logit <= numbers[4 + numbers[2] as usize])
        );
        total += f64::from(numbers[3]);
        wrong += u64::from(numbers[1] != numbers[2]);
    }
    assert_eq!(csv.lines().count(), 51);
    assert_eq!(result["correct"], 50 - wrong);
    assert!(close(result["loss"].as_f64().unwrap(), total / 50.0));

    let rows = wrong.min(24).div_ceil(6) as u32;
    let mistakes = image::open(folder.join("mistakes.png")).unwrap();
    // Images of 8x8 are 28 times as large, with two lines of text below each.
    assert_eq!(mistakes.height(), 32 + rows * (224 + 8 + 76 + 32));
    assert_eq!(mistakes.width(), 32 + wrong.min(6) as u32 * (224 + 32));
    let svg = fs::read_to_string(folder.join("confusion.svg")).unwrap();
    let accuracy = 100.0 * (50 - wrong) as f64 / 50.0;
    assert!(
        svg.contains(&format!("{accuracy:.2} % of 50 test images right")),
        "{svg}"
    );
}

#[test]
fn test_out_shows_no_mistakes_where_there_are_none() {
    let place = Place::new();
    place.train("--out run");
    let test = "test --data data --model run/model.safetensors --out out";
    place.succeeds(test);
    assert!(place.path("out/mistakes.png").exists());
    // The network's answers as labels are all right.
    let csv = fs::read_to_string(place.path("out/predictions.csv")).unwrap();
    let answers = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(2).unwrap().parse().unwrap());
    let labels = Idx {
        sizes: vec![50],
        elements: Elements::U8(answers.collect()),
    };
    let mut bytes = Vec::new();
    labels.write("labels", &mut bytes).unwrap();
    fs::write(place.path("data").join(FILES[3]), bytes).unwrap();

    place
        .succeeds(test)
        .stdout(contains("50 of 50 test images right"))
        .stdout(contains("predictions.csv; no mistake to show\n"));
    let files = ["confusion.png", "confusion.svg", "predictions.csv"];
    assert_eq!(names(&place.path("out")), files);
}

#[test]
fn every_engine_gives_the_same_test_result() {
    let place = Place::new();
    place.train_well();
    let test =
        |engine| place.test_json(&format!("--model run/model.safetensors --engine {engine}"));
    let reference = test("reference");
    for kind in EngineKind::ALL {
        let result = test(kind.name());
        assert_eq!(result["correct"], reference["correct"], "{kind:?}");
        assert!(close(
            result["loss"].as_f64().unwrap(),
            reference["loss"].as_f64().unwrap()
        ));
    }
}

#[test]
fn predict_names_the_class_of_each_picture() {
    let place = Place::new();
    place.train_well();
    for class in 0..4 {
        place.write_picture(&format!("{class}.png"), class);
    }
    let predict = "predict --model run/model.safetensors";
    let assert = place.succeeds(&format!("{predict} 3.png 0.png 1.png 2.png"));
    let text = stdout(&assert);
    let answers: Vec<&str> = text.lines().filter(|line| line.contains(".png")).collect();
    assert_eq!(answers, ["3.png: 3", "0.png: 0", "1.png: 1", "2.png: 2"]);
    // A picture's three likeliest classes follow its line.
    assert_eq!(text.lines().count(), 4 * 4);

    let assert = place.succeeds(&format!("{predict} --json 2.png 1.png"));
    let objects: Vec<Value> = stdout(&assert)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 2);
    for (object, class) in objects.iter().zip([2, 1]) {
        assert_eq!(object.as_object().unwrap().len(), 3);
        assert_eq!(object["image"], format!("{class}.png"));
        assert_eq!(object["digit"], class);
        let probabilities: Vec<f64> =
            serde_json::from_value(object["probabilities"].clone()).unwrap();
        assert_eq!(probabilities.len(), 4);
        assert!(close(probabilities.iter().sum(), 1.0));
        assert!(probabilities.iter().all(|&p| p <= probabilities[class]));
    }
}

#[test]
fn predict_reads_a_picture_from_stdin() {
    let place = Place::new();
    place.train_well();
    place.write_picture("2.png", 2);
    place
        .longhand("predict -")
        .arg("--model=run/model.safetensors")
        .write_stdin(fs::read(place.path("2.png")).unwrap())
        .assert()
        .success()
        .stdout(predicates::str::starts_with("-: 2\n"));
    failed(
        place
            .longhand("predict - --model run/model.safetensors")
            .write_stdin("no picture")
            .assert(),
        1,
        &["stdin: neither a PNG nor a JPEG picture"],
    );
}

#[test]
fn predict_answers_the_good_pictures_beside_a_bad_one() {
    let place = Place::new();
    place.train_well();
    place.write_picture("1.png", 1);
    place.write_picture("3.png", 3);
    let line = "predict --model run/model.safetensors 1.png net missing.png 3.png";
    let assert = place
        .longhand(line)
        .assert()
        .stdout(contains("1.png: 1"))
        .stdout(contains("3.png: 3"));
    failed(assert, 1, &["error: net: neither", "error: missing.png: "]);
}

#[test]
fn predict_says_that_a_bright_picture_may_be_inverted() {
    let place = Place::new();
    place.train("--quiet");
    place.write_picture("dark.png", 1);
    GrayImage::from_pixel(8, 8, Luma([255]))
        .save(place.path("bright.png"))
        .unwrap();
    place
        .succeeds("predict dark.png bright.png")
        .stderr(contains("note: bright.png is bright"))
        .stderr(contains("dark.png is bright").not());
}

#[test]
fn summary_shows_a_preset_a_text_a_file_or_a_model() {
    let place = Place::new();
    let tutorial = place
        .succeeds("summary")
        .stdout(contains("conv2d 10 5"))
        .stdout(contains("10x24x24"))
        .stdout(contains("21,840"));
    place
        .succeeds("summary --network tutorial")
        .stdout(stdout(&tutorial));
    place
        .succeeds("summary --network lenet5")
        .stdout(contains("61,706"));
    place
        .longhand("summary --network")
        .arg("flatten, linear 10")
        .assert()
        .success()
        .stdout(predicates::str::starts_with(
            "input 1x28x28, flatten, linear 10\n",
        ))
        .stdout(contains("7,850"));

    let file = place
        .succeeds("summary --network @net")
        .stdout(predicates::str::starts_with(format!("{NETWORK}\n")));
    place.train("--out run");
    place
        .succeeds("summary --model run/model.safetensors")
        .stdout(stdout(&file))
        .stderr("model: run/model.safetensors, trained on data\n");
}

#[test]
fn devices_lists_every_engine_and_the_processor() {
    let mut assert = Place::new().succeeds("devices").stderr("");
    for kind in EngineKind::ALL {
        let line = format!("  {:<10} {}\n", kind.name(), kind.about());
        assert = assert.stdout(contains(line));
    }
    let threads = std::thread::available_parallelism().unwrap();
    assert
        .stdout(contains(format!("threads    {threads}\n")))
        .stdout(contains("features"));
}

#[test]
fn gradcheck_finds_every_gradient_right() {
    let place = Place::new();
    let tensors = ["conv1.0.weight", "conv2.0.bias", "fc.1.bias"];
    let mut assert = place.succeeds("gradcheck");
    for tensor in tensors {
        assert = assert.stdout(contains(tensor).count(2));
    }
    assert.stdout(contains("WRONG").not());

    for engine in ["reference", "im2col"] {
        let line = format!("gradcheck --network @net --seed 3 --engine {engine}");
        place
            .succeeds(&line)
            .stdout(predicates::str::starts_with(NETWORK))
            .stdout(contains("seed 3"))
            .stdout(contains(format!("gradients of {engine} in f32")))
            .stdout(contains("4.weight").count(2))
            .stdout(contains("WRONG").not());
    }
}

#[test]
fn help_names_every_command_and_every_flag_of_train() {
    let place = Place::new();
    let mut help = place.succeeds("--help");
    let commands = [
        "train",
        "test",
        "predict",
        "summary",
        "devices",
        "gradcheck",
    ];
    for command in commands {
        help = help.stdout(contains(format!("\n  {command} ")));
        place
            .succeeds(&format!("{command} --help"))
            .stdout(contains(format!("Usage: longhand {command}")));
    }
    let mut help = place.succeeds("train --help");
    for flag in [
        "--data",
        "--prefix",
        "--network",
        "--engine",
        "--threads",
        "--epochs",
        "--batch-size",
        "--lr",
        "--momentum",
        "--weight-decay",
        "--nesterov",
        "--seed",
        "--out",
        "--overwrite",
        "--json",
        "--quiet",
    ] {
        help = help.stdout(contains(flag));
    }
}

#[test]
fn version_is_the_package_version() {
    let version = concat!("longhand ", env!("CARGO_PKG_VERSION"), "\n");
    Place::new().succeeds("--version").stdout(version);
}

// The flags of train.

#[test]
fn every_flag_of_the_optimiser_changes_the_weights() {
    let place = Place::new();
    let flags = [
        "",
        "--epochs 3",
        "--batch-size 16",
        "--lr 0.02",
        "--momentum 0.6",
        "--weight-decay 0.1",
        "--nesterov",
        "--seed 1",
    ];
    let hashes: BTreeSet<String> = flags.iter().map(|flags| place.train_as(flags)).collect();
    assert_eq!(hashes.len(), flags.len());

    let option = |run: &str, name: &str| place.run(run)["options"][name].clone();
    assert_eq!(place.history("runs/2").len(), 3);
    assert_eq!(option("runs/3", "batch_size"), 16);
    assert_eq!(option("runs/4", "lr"), 0.02);
    assert_eq!(place.history("runs/4")[0][6], 0.02);
    assert_eq!(option("runs/5", "momentum"), 0.6);
    assert_eq!(option("runs/6", "weight_decay"), 0.1);
    assert_eq!(option("runs/7", "nesterov"), true);
    assert_eq!(option("runs/8", "seed"), 1);
}

#[test]
fn defaults_are_those_of_the_tutorial() {
    let place = Place::new();
    let defaults = place.train_as("");
    let flags = "--epochs 5 --batch-size 32 --lr 0.01 --momentum 0.5 --weight-decay 0 --seed 0";
    assert_eq!(place.train_as(flags), defaults);
}

#[test]
fn engine_and_threads_are_those_asked_for() {
    let place = Place::new();
    let flags = [
        "--engine reference",
        "--engine im2col --threads 3",
        "--engine im2col --threads 1",
    ];
    for flags in flags {
        place.train(&format!("{flags} --lr 0.1"));
    }
    let machine = |run: &str| {
        let machine = &place.run(run)["machine"];
        (machine["engine"].clone(), machine["threads"].clone())
    };
    assert_eq!(machine("runs/1"), ("reference".into(), 1.into()));
    assert_eq!(machine("runs/2"), ("im2col".into(), 3.into()));
    assert_eq!(machine("runs/3"), ("im2col".into(), 1.into()));
    let (reference, im2col) = (place.history("runs/1"), place.history("runs/2"));
    for (reference, im2col) in reference.iter().zip(&im2col) {
        for column in 2..6 {
            let (a, b) = (reference[column], im2col[column]);
            assert!((a - b).abs() < 1e-3, "{}: {a}, {b}", COLUMNS[column]);
        }
    }
}

#[test]
fn the_same_command_gives_the_same_weights_on_any_number_of_threads() {
    let place = Place::new();
    let hashes = ["1", "1", "3"].map(|threads| place.train_as(&format!("--threads {threads}")));
    assert_eq!(hashes[0], hashes[1]);
    assert_eq!(hashes[0], hashes[2]);
    assert_eq!(place.model("runs/1"), place.model("runs/2"));
    assert_eq!(place.model("runs/1"), place.model("runs/3"));
}

#[test]
fn network_is_a_preset_a_text_or_a_file() {
    let place = Place::new();
    let train = "train --data data --epochs 1 --network";
    place.succeeds(&format!("{train} mlp"));
    place
        .longhand(train)
        .arg("flatten, linear 4")
        .assert()
        .success();
    place.succeeds(&format!("{train} @net"));
    let network = |run: &str| place.run(run)["network"].clone();
    // A preset has an output a class.
    let mlp = "input 1x8x8, flatten, linear 128, relu, linear 4";
    assert_eq!(network("runs/1"), mlp);
    assert_eq!(network("runs/2"), "input 1x8x8, flatten, linear 4");
    assert_eq!(network("runs/3"), NETWORK);
    assert_eq!(place.run("runs/2")["parameters"], 64 * 4 + 4);
}

#[test]
fn data_are_the_files_under_the_prefix() {
    let place = Place::new();
    place.write_data("letters", "emnist-letters-");
    let train = "train --network @net --epochs 1 --data letters";
    place.succeeds(&format!("{train} --prefix emnist-letters"));
    let data = place.run("runs/1")["data"].clone();
    assert_eq!(data["name"], "letters");
    assert_eq!(
        data["files"][0]["name"],
        "letters/emnist-letters-train-images-idx3-ubyte"
    );
    place.fails(1, train, &["letters: neither train-images-idx3-ubyte"]);
}

#[cfg(feature = "mnist")]
#[test]
fn data_are_mnist_where_no_folder_is_named() {
    let place = Place::new();
    place
        .longhand("train --epochs 1 --network")
        .arg("max_pool2d 4, flatten, linear 10")
        .assert()
        .success()
        .stderr(contains(
            "MNIST: 60,000 training images, 10,000 test images",
        ));
    assert_eq!(place.run("runs/1")["data"]["name"], "MNIST");
}

#[test]
fn overwrite_replaces_a_run_and_nothing_else() {
    let place = Place::new();
    place.train("--out run");
    fs::write(place.path("run/notes"), "mine").unwrap();
    let before = place.model("run");
    let again = format!("{TRAIN} --epochs 3 --out run");
    place.fails(1, &again, &["run: ", "--overwrite replaces it"]);
    assert_eq!(place.model("run"), before);
    // A command that cannot begin leaves the run, too.
    let elsewhere = "train --data nowhere --out run --overwrite";
    place.fails(1, elsewhere, &["nowhere"]);
    assert_eq!(place.model("run"), before);

    place.succeeds(&format!("{again} --overwrite"));
    assert_eq!(place.history("run").len(), 3);
    assert_ne!(place.model("run"), before);
    assert_eq!(fs::read_to_string(place.path("run/notes")).unwrap(), "mine");
}

#[test]
fn runs_that_begin_together_get_folders_of_their_own() {
    let place = Place::new();
    let line = format!("{TRAIN} --epochs 1 --quiet");
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut process = place.process(&line);
            process.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(names(&place.path("runs")), ["1", "2", "3", "4"]);
    for run in ["runs/1", "runs/2", "runs/3", "runs/4"] {
        assert_eq!(place.run(run)["status"], "finished");
    }
}

// Which model is used.

#[test]
fn the_newest_run_is_the_model_where_none_is_named() {
    let place = Place::new();
    let test = "test --data data";
    place.train("");
    place.train("--seed 1").stdout(contains("runs/2: "));
    let newest = |run: &str| format!("model: runs/{run}/model.safetensors, trained on data\n");
    place.succeeds(test).stderr(newest("2"));
    // Newest is what was written last, whatever its number.
    fs::File::options()
        .write(true)
        .open(place.path("runs/1/model.safetensors"))
        .and_then(|file| file.set_modified(SystemTime::now() + Duration::from_secs(60)))
        .unwrap();
    place.succeeds(test).stderr(newest("1"));
    place
        .succeeds("test --data data --model runs/2/model.safetensors")
        .stderr(newest("2"));
}

#[cfg(feature = "mnist")]
#[test]
fn the_builtin_model_reads_mnist_and_is_used_where_there_is_no_run() {
    let place = Place::new();
    let named = place.succeeds("test --json --model builtin");
    let result: Value = serde_json::from_str(&stdout(&named)).unwrap();
    assert_eq!(result["images"], 10_000);
    assert!(result["accuracy"].as_f64().unwrap() > 0.98, "{result}");
    let said = "model: builtin, trained on MNIST\n";
    let named = named.stderr(said);
    place
        .succeeds("test --json")
        .stderr(said)
        .stdout(stdout(&named));

    place.train("");
    place.succeeds("test --json --model builtin").stderr(said);
}

#[test]
fn the_builtin_model_is_the_tutorials_network() {
    let place = Place::new();
    let tutorial = place.succeeds("summary");
    place
        .succeeds("summary --model builtin --network tutorial")
        .stdout(stdout(&tutorial));
    place.fails(
        1,
        "test --model builtin --network mlp",
        &["conv2d 10 5", "not of `mlp`"],
    );
}

#[test]
fn network_stands_for_what_bare_weights_do_not_say() {
    let place = Place::new();
    place.train("--out run");
    let bytes = place.model("run");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let bare = safetensors::serialize(tensors.tensors(), None).unwrap();
    fs::write(place.path("bare.safetensors"), bare).unwrap();
    let test = "test --data data --model bare.safetensors";
    place.fails(1, test, &["bare.safetensors: ", "--network"]);
    place
        .succeeds(&format!("{test} --network @net"))
        .stderr("model: bare.safetensors, trained on unknown data\n")
        .stdout(contains("of 50 test images right"));
}

// Wrong usage: status 2.

#[test]
fn wrong_usage_is_explained() {
    let place = Place::new();
    for (line, words) in [
        ("", &["Usage: longhand"][..]),
        ("teach", &["'teach'", "Usage: longhand"]),
        ("train --speed 9", &["'--speed'"]),
        (
            "train --network conv3d",
            &["layer 1 (conv3d)", "no layer is called `conv3d`", "lenet5"],
        ),
        (
            "train --engine abacus",
            &["'abacus'", "reference", "im2col"],
        ),
        ("train --lr -1", &["-1", "--lr", "at least 0"]),
        ("train --lr nan", &["nan", "--lr", "at least 0"]),
        ("train --momentum -0.5", &["--momentum", "at least 0"]),
        ("train --weight-decay x", &["--weight-decay", "at least 0"]),
        ("train --epochs 0", &["'0'", "--epochs"]),
        ("train --batch-size 0", &["'0'", "--batch-size"]),
        ("train --threads 0", &["'0'", "--threads"]),
        (
            "train --engine reference --threads 2",
            &["reference", "--threads"],
        ),
        ("train --seed -1", &["-1"]),
        (
            "train --nesterov --momentum 0",
            &["nesterov needs a momentum above 0"],
        ),
        ("train --overwrite", &["--out"]),
        ("train --prefix emnist", &["--data"]),
        ("predict", &["<IMAGE>"]),
    ] {
        place.fails(2, line, words);
    }
    assert_eq!(names(place.folder.path()), ["data", "net"]);
}

#[test]
fn a_wrong_network_text_names_its_layer() {
    let place = Place::new();
    for command in ["train", "summary", "gradcheck", "test"] {
        let assert = place
            .longhand(command)
            .args(["--network", "flatten, linear ten"])
            .assert();
        failed(assert, 2, &["layer 2 (linear ten)", "`ten`"]);
    }
}

// What the files, the data and the network can get wrong: status 1.

#[test]
fn missing_data_are_named() {
    let place = Place::new();
    place.fails(
        1,
        "train --data nowhere",
        &["error: nowhere: ", "train-images-idx3-ubyte"],
    );
    fs::remove_file(place.path("data").join(FILES[3])).unwrap();
    place.fails(1, TRAIN, &["error: data: ", FILES[3]]);
}

#[test]
fn a_damaged_idx_file_is_named_with_its_byte() {
    let place = Place::new();
    let path = place.path("data").join(FILES[0]);
    let whole = fs::read(&path).unwrap();
    let message = "error: data/train-images-idx3-ubyte: byte";

    fs::write(&path, &whole[..1000]).unwrap();
    place.fails(1, TRAIN, &[&format!("{message} 1000: the file ends")]);
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    let end = whole.len();
    place.fails(1, TRAIN, &[&format!("{message} {end}: the file goes on")]);
    fs::write(&path, "no IDX").unwrap();
    place.fails(1, TRAIN, &[&format!("{message} 0: ")]);
    assert_eq!(names(place.folder.path()), ["data", "net"]);
}

#[test]
fn a_network_that_does_not_fit_the_data_is_explained() {
    let place = Place::new();
    for (network, words) in [
        ("relu, linear 4", &["layer 2 (linear 4)", "1x8x8"][..]),
        ("conv2d 2 9, flatten, linear 4", &["layer 1 (conv2d 2 9)"]),
        ("input 1x28x28, flatten, linear 4", &["1x28x28", "1x8x8"]),
        ("flatten, linear 3", &["4 classes"]),
        ("conv2d 4 8", &["4 classes"]),
    ] {
        let assert = place
            .longhand("train --data data --network")
            .arg(network)
            .assert();
        failed(assert, 1, words);
    }
    assert_eq!(names(place.folder.path()), ["data", "net"]);
}

#[test]
fn a_network_file_that_cannot_be_read_is_named() {
    let place = Place::new();
    fs::write(place.path("bad"), "flatten\nlinear ten").unwrap();
    for command in ["train --data data", "summary", "gradcheck", "test"] {
        let line = |file: &str| format!("{command} --network @{file}");
        place.fails(1, &line("missing"), &["error: missing: "]);
        place.fails(1, &line("bad"), &["error: bad: layer 2 (linear ten)"]);
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    place.fails(1, &format!("{TRAIN} --out file"), &["error: file: "]);
    place.fails(1, &format!("{TRAIN} --out file/a"), &["error: file/a: "]);
    fs::write(place.path("runs"), "").unwrap();
    place.fails(1, TRAIN, &["error: runs: "]);

    let test = "test --data data --model builtin --out";
    place.fails(1, &format!("{test} file"), &["error: file: "]);
    place.train("--out run");
    fs::create_dir_all(place.path("out/predictions.csv")).unwrap();
    let test = "test --data data --model run/model.safetensors --out out";
    place.fails(1, test, &["error: out/predictions.csv: "]);
}

#[test]
fn a_model_that_cannot_be_used_is_named() {
    let place = Place::new();
    place.train("--out run");
    let bytes = place.model("run");
    fs::write(place.path("cut"), &bytes[..bytes.len() - 1]).unwrap();
    for command in ["test --data data", "predict net", "summary"] {
        let line = |model: &str| format!("{command} --model {model}");
        place.fails(1, &line("missing"), &["error: missing: "]);
        for file in ["net", "cut"] {
            let message = format!("error: {file}: no whole safetensors file");
            place.fails(1, &line(file), &[&message]);
        }
    }
}

#[test]
fn a_network_that_is_not_the_models_is_refused() {
    let place = Place::new();
    place.train("--out run");
    fs::write(place.path("other"), "flatten, linear 4").unwrap();
    for network in ["mlp", "@other"] {
        let flags = format!("--model run/model.safetensors --network {network}");
        for command in ["test --data data", "predict net", "summary"] {
            place.fails(
                1,
                &format!("{command} {flags}"),
                &["the weights are those of"],
            );
        }
    }
    place.succeeds("summary --model run/model.safetensors --network @net");
}

#[test]
fn a_model_for_other_images_is_refused() {
    let place = Place::new();
    place.fails(
        1,
        "test --data data --model builtin",
        &["the network reads images of 1x28x28, not of 1x8x8"],
    );
}

#[test]
fn diverging_training_fails_and_says_what_to_try() {
    let place = Place::new();
    let line = format!("{TRAIN} --lr 1e30 --out run");
    place.fails(1, &line, &["diverged", "smaller learning rate"]);
    assert_eq!(place.run("run")["status"], "failed");
}

// Signals, pipes and terminals.

#[cfg(unix)]
#[test]
fn interrupted_training_keeps_the_last_epoch() {
    let place = Place::new();
    for signal in ["-INT", "-TERM"] {
        let line = format!("{TRAIN} --epochs 100000 --out run --overwrite");
        let mut child = place
            .process(&line)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The second run has to take the first one's files away before it writes its own.
        let record = || fs::read_to_string(place.path("run/run.json")).unwrap_or_default();
        while !(record().contains("\"running\"") && place.path("run/model.safetensors").exists()) {
            assert!(child.try_wait().unwrap().is_none(), "training has ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        let id = child.id().to_string();
        let sent = Process::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));

        let history = place.history("run");
        let last = history.last().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let message = format!(
            "interrupted in epoch {}: the weights after epoch {} are in run/model.safetensors\n",
            last[0] + 1.0,
            last[0]
        );
        assert!(stderr.ends_with(&message), "{stderr}");
        assert_eq!(names(&place.path("run")), RUN_FILES);
        assert_eq!(place.run("run")["status"], "interrupted");
        let result = place.test_json("--model run/model.safetensors");
        assert!(close(result["accuracy"].as_f64().unwrap(), last[5]));
        assert!(close(result["loss"].as_f64().unwrap(), last[4]));
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::new();
    place.train("--out first");
    let train = format!("{TRAIN} --epochs 2 --out run --overwrite");
    let test = "test --data data --model first/model.safetensors";
    for line in [
        &train,
        test,
        "summary",
        "gradcheck --network @net",
        "--help",
    ] {
        let output = place.process(line).stdout(closed_pipe()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{line}: {stderr}");
        assert!(!stderr.contains("panicked"), "{line}: {stderr}");

        let mut process = place.process(line);
        let output = process.stderr(closed_pipe()).output().unwrap();
        assert!(output.status.success(), "{line}");
        assert!(!output.stdout.is_empty(), "{line}");
    }
    assert_eq!(place.run("run")["status"], "finished");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_an_error() {
    let place = Place::new();
    for line in [TRAIN, "summary"] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = place.process(line).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("error: "), "{line}: {stderr}");
        assert!(!stderr.contains("panicked"), "{line}: {stderr}");
    }
    assert_eq!(place.run("runs/1")["status"], "failed");
}

#[test]
fn output_has_escape_codes_only_where_colour_is_forced_and_not_forbidden() {
    let place = Place::new();
    let escape = || contains("\x1b");
    for line in [&format!("{TRAIN} --epochs 2"), "test --data data", "--help"] {
        place
            .succeeds(line)
            .stdout(escape().not())
            .stderr(escape().not());
    }
    let help = || {
        let mut help = place.longhand("--help");
        help.env("CLICOLOR_FORCE", "1");
        help
    };
    help().assert().stdout(escape());
    help().env("NO_COLOR", "1").assert().stdout(escape().not());
}

/// `script` runs the program on a terminal of its own.
#[cfg(target_os = "linux")]
#[test]
fn the_bar_is_drawn_on_a_terminal_unless_it_is_forbidden() {
    let place = Place::new();
    let terminal = |flags: &str| {
        let program = cargo_bin!("longhand").display();
        let line = format!("{program} {TRAIN} --epochs 2 {flags}");
        let mut script = Process::new("script");
        script
            .args(["-qec", &line, "/dev/null"])
            .current_dir(place.folder.path())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        Command::from_std(script)
    };
    let escape = || contains("\x1b[");
    terminal("").assert().success().stdout(escape());
    terminal("--quiet")
        .assert()
        .success()
        .stdout(escape().not());
    terminal("")
        .env("NO_COLOR", "1")
        .assert()
        .success()
        .stdout(contains("epoch 2/2"))
        .stdout(escape().not());
}
