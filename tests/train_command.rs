//! `longhand train` as people run it: every flag, the run's folder, repeating a run, and beginning
//! with weights.

#![cfg(feature = "cli")]

mod place;

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use longhand::data::Data;
use longhand::digest;
use longhand::engines::lanes::{self, Settings};
use longhand::hardware::lanes::Path;
use longhand::model::Model;
use longhand::network::{Description, Network};
use longhand::training::{Event, Recipe, Start, train};
use place::*;
use predicates::prelude::*;
use predicates::str::contains;
use safetensors::SafeTensors;
use serde_json::Value;

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
    assert_eq!(run["recipe"]["seed"], 7);
    assert_eq!(run["machine"]["engine"], "lanes");
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
    let began = Instant::now();
    let assert = place.train("--out run");
    let elapsed = began.elapsed().as_secs_f64();
    let text = stdout(&assert);
    let lines: Vec<&str> = text.lines().collect();
    let [first, second, accuracy, sha256, folder] = lines[..] else {
        panic!("five lines, not {text}");
    };
    assert!(first.starts_with("epoch 1/2 "), "{first}");
    assert!(second.starts_with("epoch 2/2 "), "{second}");
    for (line, row) in [first, second].into_iter().zip(place.history("run")) {
        let (train, test) = line.split_once("  test: ").unwrap();
        let (train, test) = (train.split_once("train: ").unwrap().1, test);
        let (seconds, rate) = test
            .split_once(" %  ")
            .unwrap()
            .1
            .split_once(" s, ")
            .unwrap();
        let rate = rate.strip_suffix(" images/s").unwrap().replace(',', "");
        let after = |text: &str, word: &str| {
            let text = text.split_once(word).unwrap().1;
            let end = text.find([',', ' ']).unwrap_or(text.len());
            text[..end].parse::<f64>().unwrap()
        };
        // Both are rounded, the history later.
        for (found, expected, tolerance) in [
            (after(train, "loss "), row[2], 6e-5),
            (after(train, "accuracy "), 100.0 * row[3], 6e-3),
            (after(test, "loss "), row[4], 6e-5),
            (after(test, "accuracy "), 100.0 * row[5], 6e-3),
            (seconds.parse().unwrap(), row[1], 6e-3),
        ] {
            assert!(
                (found - expected).abs() <= tolerance,
                "{found} {expected}: {line}"
            );
        }
        let rate: f64 = rate.parse().unwrap();
        let [least, most] = [row[1] + 6e-4, (row[1] - 6e-4).max(1e-9)].map(|s| 200.0 / s);
        assert!(least - 1.0 <= rate && rate <= most, "{line}");
    }
    let seconds = &place.run("run")["seconds"];
    let [start, training, total] =
        ["start_to_first_step", "training", "total"].map(|name| seconds[name].as_f64().unwrap());
    let sum: f64 = place.history("run").iter().map(|row| row[1]).sum();
    assert!((sum - training).abs() < 0.002, "{sum}, {training}");
    assert!(0.0 < start && start <= total && training <= total && total <= elapsed);
    let last = place.history("run")[1][5];
    let percent = format!("test accuracy {:.2} % after 2 epochs", 100.0 * last);
    assert!(accuracy.starts_with(&percent), "{accuracy}");
    let model = Model::open(&place.path("run/model.safetensors"), None).unwrap();
    let hash = digest::sha256(&model.parameters);
    assert_eq!(sha256, format!("weights SHA-256 {hash}"));
    assert_eq!(
        folder,
        "run: state.safetensors, model.safetensors, history.csv, curves.svg, curves.png, run.json"
    );
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
fn defaults_are_those_of_the_tutorial() {
    let place = Place::new();
    let defaults = place.train_as("");
    let flags = "--epochs 5 --batch-size 32 --lr 0.01 --momentum 0.5 --weight-decay 0 --seed 0";
    assert_eq!(place.train_as(flags), defaults);
}

/// PyTorch's.
#[test]
fn defaults_of_optimisers_and_schedules_are_those_of_the_help() {
    let place = Place::new();
    let recipe = |flags: &str| {
        place.train(&format!("{flags} --out run --overwrite"));
        place.run("run")["recipe"].clone()
    };
    let adam = |weight_decay: f64, decoupled: bool| {
        serde_json::json!({"adam": {
            "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
            "weight_decay": weight_decay, "decoupled": decoupled,
        }})
    };
    assert_eq!(recipe("--optimizer adam")["optimiser"], adam(0.0, false));
    assert_eq!(recipe("--optimizer adamw")["optimiser"], adam(0.01, true));
    let step = serde_json::json!({"step": {"every": 1, "gamma": 0.1}});
    assert_eq!(recipe("--schedule step --step-epochs 1")["schedule"], step);
    let one_cycle = serde_json::json!({"one-cycle": {"warm_up": 0.3, "anneal": "cosine"}});
    assert_eq!(recipe("--schedule one-cycle")["schedule"], one_cycle);
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
fn the_environment_chooses_the_instructions() {
    let place = Place::new();
    let data = Data::open(&place.path("data"), None).unwrap();
    let network: Description = NETWORK.parse().unwrap();
    let network = Network::new(&network, None).unwrap();
    for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
        let line = format!("{TRAIN} --epochs 2 --out run --overwrite");
        let mut command = place.longhand(&line);
        let found = hash(
            &command
                .env("LONGHAND_LANES", path.name())
                .assert()
                .success(),
        );
        let settings = Settings {
            path,
            ..Settings::default()
        };
        let normalisation = data.normalisation.clone();
        let mut engine = lanes::open(network.clone(), normalisation, None, settings).unwrap();
        let recipe = Recipe {
            epochs: 2,
            ..Recipe::default()
        };
        let watch = &mut |_: Event| ControlFlow::Continue(());
        train(engine.as_mut(), &data, &recipe, Start::Drawn, watch).unwrap();
        let weights = engine.state().unwrap().parameters;
        assert_eq!(found, digest::sha256(&weights), "{path}");
        assert_eq!(place.run("run")["machine"]["instructions"], path.name());
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

#[test]
fn diverging_training_fails_and_says_what_to_try() {
    let place = Place::new();
    let line = format!("{TRAIN} --lr 1e30 --out run");
    place.fails(1, &line, &["diverged", "smaller learning rate"]);
    assert_eq!(place.run("run")["status"], "failed");
}

/// Ctrl-C's signal, or where this process was started to ignore it, and so its children are, the one that
/// asks to end.
#[cfg(unix)]
fn interrupt() -> &'static str {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    // Signal 2 is the second bit.
    match ignored.unwrap_or(0) & 2 {
        0 => "-INT",
        _ => "-TERM",
    }
}

#[cfg(unix)]
#[test]
fn interrupted_training_keeps_the_last_epoch() {
    let place = Place::new();
    // On one thread, on as many as a small machine has, and on more.
    for (signal, threads) in [(interrupt(), 1), ("-TERM", 2), (interrupt(), 5)] {
        let flags = format!("--epochs 100000 --out run --overwrite --threads {threads}");
        let line = format!("{TRAIN} {flags}");
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
            "interrupted in epoch {}: the weights after epoch {} are in run/model.safetensors; \
             --out run --resume goes on from there\n",
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

// Settings.

/// Each of these must change the weights: by what it sets, beside the flags that it needs.
#[test]
fn every_setting_changes_the_weights() {
    let place = Place::new();
    let settings = [
        ("", "epochs", "5"),
        ("--epochs 3", "epochs", "3"),
        ("--batch-size 16", "batch_size", "16"),
        ("--seed 1", "seed", "1"),
        ("--lr 0.02", "optimiser/sgd/lr", "0.02"),
        ("--momentum 0.6", "optimiser/sgd/momentum", "0.6"),
        ("--weight-decay 0.1", "optimiser/sgd/weight_decay", "0.1"),
        ("--nesterov", "optimiser/sgd/nesterov", "true"),
        ("--optimizer adam", "optimiser/adam/decoupled", "false"),
        ("--optimizer adam --lr 0.01", "optimiser/adam/lr", "0.01"),
        (
            "--optimizer adam --beta1 0.5",
            "optimiser/adam/beta1",
            "0.5",
        ),
        (
            "--optimizer adam --beta2 0.9",
            "optimiser/adam/beta2",
            "0.9",
        ),
        ("--optimizer adam --eps 0.1", "optimiser/adam/eps", "0.1"),
        (
            "--optimizer adam --weight-decay 0.1",
            "optimiser/adam/weight_decay",
            "0.1",
        ),
        ("--optimizer adamw", "optimiser/adam/decoupled", "true"),
        (
            "--optimizer adamw --weight-decay 0.2",
            "optimiser/adam/weight_decay",
            "0.2",
        ),
        ("--schedule cosine", "schedule", "\"cosine\""),
        (
            "--schedule step --step-epochs 2",
            "schedule/step/every",
            "2",
        ),
        (
            "--schedule step --step-epochs 3",
            "schedule/step/every",
            "3",
        ),
        (
            "--schedule step --step-epochs 2 --gamma 0.5",
            "schedule/step/gamma",
            "0.5",
        ),
        (
            "--schedule one-cycle",
            "schedule/one-cycle/anneal",
            "\"cosine\"",
        ),
        (
            "--schedule one-cycle --anneal linear",
            "schedule/one-cycle/anneal",
            "\"linear\"",
        ),
        (
            "--schedule one-cycle --warm-up 0.5",
            "schedule/one-cycle/warm_up",
            "0.5",
        ),
        ("--clip-norm 0.1", "clip_norm", "0.1"),
        ("--label-smoothing 0.1", "label_smoothing", "0.1"),
        ("--average 0.9", "average", "0.9"),
        ("--validation 40", "validation", "40"),
    ];
    let mut hashes = BTreeSet::new();
    for (flags, setting, value) in settings {
        let hash = place.train_as(&format!("{flags} --out run --overwrite"));
        assert!(hashes.insert(hash), "{flags} changes nothing");
        let recipe = &place.run("run")["recipe"];
        let found = &recipe.pointer(&format!("/{setting}")).unwrap();
        assert_eq!(found.to_string(), value, "{flags}");
    }
}

#[test]
fn zero_takes_a_limit_away_and_false_a_choice() {
    let place = Place::new();
    let plain = place.train_as("--out plain");
    let flags = "--validation 40 --patience 9 --clip-norm 0.1 --average 0.9 --label-smoothing 0.1 --nesterov";
    assert_ne!(place.train_as(&format!("{flags} --out run")), plain);
    let off = "--validation 0 --patience 0 --clip-norm 0 --average 0 --label-smoothing 0 --nesterov=false";
    assert_eq!(place.train_as(&format!("--like run {off}")), plain);
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    let place = Place::new();
    for (flags, words) in [
        ("--beta1 0.5", ["--beta1", "--optimizer adam"]),
        ("--beta2 0.5", ["--beta2", "--optimizer adam"]),
        ("--eps 1", ["--eps", "--optimizer adam"]),
        (
            "--optimizer adam --momentum 0.5",
            ["--momentum", "--optimizer sgd"],
        ),
        (
            "--optimizer adamw --nesterov",
            ["--nesterov", "--optimizer sgd"],
        ),
        ("--step-epochs 2", ["--step-epochs", "--schedule step"]),
        (
            "--schedule cosine --gamma 2",
            ["--gamma", "--schedule step"],
        ),
        ("--warm-up 0.1", ["--warm-up", "--schedule one-cycle"]),
        (
            "--schedule step --step-epochs 1 --anneal linear",
            ["--anneal", "--schedule one-cycle"],
        ),
        ("--schedule step", ["--schedule step", "--step-epochs"]),
        ("--patience 2", ["--patience", "--validation"]),
        ("--recipe tutorial --like runs/1", ["--recipe", "--like"]),
        ("--recipe secret", ["secret", "tutorial"]),
        ("--optimizer sgdm", ["sgdm", "adamw"]),
        ("--schedule triangle", ["triangle", "one-cycle"]),
        ("--label-smoothing 1", ["--label-smoothing", "below 1"]),
        ("--average -1", ["--average", "below 1"]),
        ("--clip-norm nan", ["--clip-norm", "at least 0"]),
    ] {
        place.fails(2, &format!("{TRAIN} {flags}"), &words);
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn the_rate_of_the_history_is_that_of_each_epochs_last_step() {
    let place = Place::new();
    let rates = |flags: &str| {
        place.train_as(&format!("{flags} --lr 0.1 --out run --overwrite"));
        let rates = place.history("run");
        rates.iter().map(|row| row[6]).collect::<Vec<f64>>()
    };
    assert_eq!(rates(""), [0.1; 5]);
    let step = rates("--schedule step --step-epochs 2 --gamma 0.5");
    for (found, expected) in step.iter().zip([0.1, 0.1, 0.05, 0.05, 0.025]) {
        assert!(close(*found, expected), "{step:?}");
    }
    let one_cycle = rates("--schedule one-cycle --warm-up 0.4");
    assert!(one_cycle[0] < one_cycle[1] && one_cycle[1] > one_cycle[2]);
    assert!(one_cycle[4] < 1e-5, "{one_cycle:?}");
}

#[test]
fn the_model_of_a_run_is_what_was_tested() {
    let place = Place::new();
    for flags in ["", "--average 0.9"] {
        place.train(&format!("{flags} --lr 0.1 --out run --overwrite"));
        let model = Model::open(&place.path("run/model.safetensors"), None).unwrap();
        let sum = digest::sha256(&model.parameters);
        assert_eq!(place.run("run")["result"]["weights_sha256"], sum);
        let tested = place.test_json("--model run/model.safetensors");
        let last = &place.history("run")[1];
        for (name, value) in [("loss", last[4]), ("accuracy", last[5])] {
            // The history has six decimals.
            let found = tested[name].as_f64().unwrap();
            assert!(
                (found - value).abs() < 2e-6,
                "{flags} {name}: {found}, {value}"
            );
        }
    }
}

#[test]
fn a_validation_part_adds_columns_and_keeps_the_best_weights() {
    keeps_the_best_weights("--lr 0.6 --momentum 0.9");
    keeps_the_best_weights("--lr 1.2 --momentum 0.9 --average 0.5");
}

/// With so large a rate that the last epoch is not the best.
fn keeps_the_best_weights(flags: &str) {
    let place = Place::new();
    let asked = flags;
    let flags = &format!("{asked} --epochs 8 --validation 40 --out run");
    let assert = place.succeeds(&format!("{TRAIN} {flags} --json"));
    let rows: Vec<Value> = stdout(&assert)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let key = |row: &Value| {
        let number = |name: &str| row[name].as_f64().unwrap();
        (number("validation_accuracy"), -number("validation_loss"))
    };
    let top = rows
        .iter()
        .reduce(|a, b| if key(b) > key(a) { b } else { a })
        .unwrap();
    assert_ne!(top["epoch"], 8, "another rate is needed");
    assert_eq!(&place.run("run")["result"]["best"], top);
    // To the bit those of a run that ends there.
    let epochs = &top["epoch"];
    place.succeeds(&format!(
        "{TRAIN} {asked} --epochs {epochs} --validation 40 --out top"
    ));
    let parameters = |model: &str| Model::open(&place.path(model), None).unwrap().parameters;
    assert!(parameters("run/best.safetensors") == parameters("top/model.safetensors"));

    let result = place.test_json("--model run/best.safetensors");
    for (name, column) in [("accuracy", "test_accuracy"), ("loss", "test_loss")] {
        let [found, expected] = [&result[name], &top[column]].map(|v| v.as_f64().unwrap());
        assert!(close(found, expected), "{name}: {found}, {expected}");
    }
    assert_ne!(
        fs::read(place.path("run/best.safetensors")).unwrap(),
        place.model("run")
    );

    let csv = fs::read_to_string(place.path("run/history.csv")).unwrap();
    let header = format!("{},validation_loss,validation_accuracy", COLUMNS.join(","));
    assert_eq!(csv.lines().next(), Some(header.as_str()));
    assert_eq!(csv.lines().count(), 9);
    for (line, row) in csv.lines().skip(1).zip(&rows) {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        let (accuracy, loss) = key(row);
        assert!(
            close(cells[7], -loss) && close(cells[8], accuracy),
            "{line}"
        );
    }

    let assert = place.succeeds(&format!("{TRAIN} {flags} --overwrite"));
    let line = format!("best by validation: epoch {}, ", top["epoch"]);
    assert!(stdout(&assert).contains(&line), "{}", stdout(&assert));
    assert!(stdout(&assert).contains("validation: loss"));
    assert.stderr(contains("200 training images (40 held out)"));
}

#[test]
fn patience_ends_training_early() {
    let place = Place::new();
    let flags = "--lr 0 --epochs 9 --validation 40 --patience 3 --out run";
    let assert = place.succeeds(&format!("{TRAIN} {flags}"));
    assert!(
        stdout(&assert).contains("stopped after epoch 4 of 9: no better validation in 3"),
        "{}",
        stdout(&assert)
    );
    assert_eq!(place.run("run")["status"], "finished");
    assert_eq!(place.run("run")["result"]["epoch"], 4);
}

#[test]
fn a_validation_part_leaves_something_to_learn_from() {
    let place = Place::new();
    let line = format!("{TRAIN} --validation 200");
    place.fails(1, &line, &["200 training images", "200 cannot be held out"]);
}

// Recipes.

#[test]
fn a_recipe_is_a_set_of_flags_that_others_change() {
    let place = Place::new();
    let plain = place.train_as("");
    assert_eq!(place.train_as("--recipe tutorial"), plain);
    assert_eq!(
        place.train_as("--recipe tutorial --lr 0.3"),
        place.train_as("--lr 0.3")
    );
    assert_eq!(
        place.train_as("--recipe one-cycle"),
        place.train_as(
            "--batch-size 16 --lr 0.05 --momentum 0.9 --weight-decay 5e-4 --schedule one-cycle \
             --warm-up 0.3 --anneal linear --label-smoothing 0.05 --average 0.998"
        )
    );
}

#[test]
fn like_repeats_a_run_to_the_bit() {
    let place = Place::new();
    place.write_data("other", "set-");
    for (flags, run) in [
        ("--seed 5 --nesterov", "runs/1"),
        (
            "--optimizer adamw --lr 0.01 --schedule one-cycle --warm-up 0.2 --anneal linear \
             --label-smoothing 0.05 --average 0.8 --clip-norm 1 --validation 30 --patience 4 \
             --epochs 4 --batch-size 20 --engine reference",
            "runs/3",
        ),
    ] {
        let hash = place.train_as(flags);
        let assert = place.succeeds(&format!("train --like {run}"));
        let said = format!("the same weights as {run}, bit for bit");
        assert!(stdout(&assert).contains(&said), "{}", stdout(&assert));
        assert_eq!(self::hash(&assert), hash);
    }
    assert_eq!(place.run("runs/4")["machine"]["engine"], "reference");
    assert_eq!(place.run("runs/4")["recipe"], place.run("runs/3")["recipe"]);

    // From another folder, too: the data are where they were.
    let mut elsewhere = place.process("train --like ../runs/1 --out repeated");
    elsewhere.current_dir(place.path("other"));
    assert!(elsewhere.output().unwrap().status.success());
    let sha256 = |run: &str| place.run(run)["result"]["weights_sha256"].clone();
    assert_eq!(sha256("other/repeated"), sha256("runs/1"));

    // Images that lie on their side do so again.
    place.train_as("--emnist --out lying");
    let assert = place.succeeds("train --like lying");
    assert!(stdout(&assert).contains("bit for bit"));

    // Data under a prefix are found again.
    place.succeeds("train --data other --prefix set --network @net --out prefixed");
    let assert = place.succeeds("train --like prefixed");
    assert!(stdout(&assert).contains("bit for bit"));
}

#[test]
fn like_takes_other_flags_and_then_promises_nothing() {
    let place = Place::new();
    place.train_as("--lr 0.2 --out first");
    let assert = place.succeeds("train --like first --epochs 2 --out second");
    assert!(!stdout(&assert).contains("bit for bit"));
    let run = place.run("second");
    assert_eq!(run["recipe"]["epochs"], 2);
    assert_eq!(run["recipe"]["optimiser"]["sgd"]["lr"], 0.2);
    place.fails(1, "train --like first --out first", &["--overwrite"]);
}

#[test]
fn like_needs_a_run_and_the_data_that_it_learned_from() {
    let place = Place::new();
    place.fails(1, "train --like nowhere", &["nowhere/run.json"]);
    place.train_as("--out run");
    let labels = place.path("data").join(FILES[1]);
    let mut bytes = fs::read(&labels).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&labels, bytes).unwrap();
    place.fails(1, "train --like run", &[FILES[1], "MD5"]);
    // Whoever names the data means them.
    place.succeeds("train --like run --data data");
    let record = fs::read_to_string(place.path("run/run.json")).unwrap();
    for (from, to, word) in [
        ("\"epochs\": 5", "\"epochs\": 0", "at least 1 epoch"),
        ("\"batch_size\": 32", "\"batch_size\": 0", "batch size"),
        ("\"lr\": 0.01", "\"lr\": -1.0", "learning rate"),
    ] {
        assert!(record.contains(from), "{record}");
        fs::write(place.path("run/run.json"), record.replace(from, to)).unwrap();
        place.fails(2, "train --like run --data data", &[word]);
    }
    fs::write(place.path("run/run.json"), "{}").unwrap();
    place.fails(
        1,
        "train --like run",
        &["run/run.json", "no record of a run"],
    );
}

// First weights.

#[test]
fn init_begins_with_the_weights_of_a_model() {
    let place = Place::new();
    place.train_well();
    place.train_as("--lr 0 --epochs 1 --init run/model.safetensors --out same");
    let weights = |run: &str| {
        let path = place.path(run).join("model.safetensors");
        Model::open(&path, None).unwrap().parameters
    };
    assert_eq!(weights("same"), weights("run"));
    // The network is the model's, and so it may be left out.
    let assert = place
        .succeeds("train --data data --lr 0 --epochs 1 --init run/model.safetensors --out unnamed");
    assert_eq!(weights("unnamed"), weights("run"));
    assert!(stderr(&assert).contains("first weights: "));
    assert!(!stderr(&assert).contains("drawn anew"));
    // Layers without weights may lie between.
    let dropping = NETWORK.replace("flatten,", "flatten, dropout 0.5,");
    place
        .longhand("train --data data --lr 0 --epochs 1 --init run/model.safetensors --out dropping")
        .args(["--network", &dropping])
        .assert()
        .success();
    assert_eq!(weights("dropping"), weights("run"));

    let init = &place.run("same")["init"];
    assert_eq!(init["weights_sha256"], digest::sha256(&weights("run")));
    assert_eq!(init["drawn"], Value::Array(vec![]));
    // A repeated run begins with the same weights, or not at all.
    let assert = place.succeeds("train --like same");
    assert!(stdout(&assert).contains("bit for bit"));
    place.train_as("--seed 9 --out run --overwrite");
    place.fails(
        1,
        "train --like same",
        &["not the weights that run began with"],
    );
}

#[test]
fn init_takes_bare_weights_to_be_for_the_datas_images() {
    let place = Place::new();
    place.train_as("--out run");
    let whole = place.model("run");
    let tensors = SafeTensors::deserialize(&whole).unwrap();
    let bare = safetensors::serialize(tensors.tensors(), None).unwrap();
    fs::write(place.path("bare.safetensors"), bare).unwrap();
    let network = NETWORK.strip_prefix("input 1x8x8, ").unwrap();
    let hashes = ["run/model.safetensors", "bare.safetensors"].map(|init| {
        let line = format!("train --data data --epochs 1 --quiet --init {init} --network");
        let assert = place.longhand(&line).arg(network).assert().success();
        hash(&assert)
    });
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn init_draws_a_new_last_layer_for_other_classes_and_says_so() {
    let place = Place::new();
    place.train_well();
    let wide = NETWORK.replace("linear 4", "linear 6");
    let assert = place
        .longhand("train --data data --lr 0 --epochs 1 --init run/model.safetensors --out wide")
        .args(["--network", &wide])
        .assert()
        .success();
    assert!(
        stderr(&assert).contains("drawn anew: 4.weight, 4.bias"),
        "{}",
        stderr(&assert)
    );
    let model = |run: &str| Model::open(&place.path(run).join("model.safetensors"), None).unwrap();
    let (old, new) = (model("run"), model("wide"));
    let kept = new.network.parameters()[2].range.start;
    assert_eq!(new.parameters[..kept], old.parameters[..kept]);
    // What is new is what the seed draws.
    place
        .longhand("train --data data --lr 0 --epochs 1 --out drawn")
        .args(["--network", &wide])
        .assert()
        .success();
    assert_eq!(new.parameters[kept..], model("drawn").parameters[kept..]);
}

#[test]
fn init_refuses_weights_that_do_not_fit() {
    let place = Place::new();
    place.train_well();
    for (network, words) in [
        (
            NETWORK.replace("conv2d 2 3", "conv2d 3 3"),
            ["0.weight", "[3, 1, 3, 3]"],
        ),
        (
            NETWORK.replace("linear 4", "linear 9, linear 4"),
            ["4 tensors", "has 6"],
        ),
    ] {
        let assert = place
            .longhand("train --data data --init run/model.safetensors")
            .args(["--network", &network])
            .assert();
        failed(assert, 1, &words);
    }
    place.fails(1, &format!("{TRAIN} --init missing"), &["missing: "]);
    assert!(!place.path("runs").exists());
}

// The run's folder.

#[test]
fn a_run_leaves_its_curves() {
    let place = Place::new();
    place.train("--out run");
    let svg = fs::read_to_string(place.path("run/curves.svg")).unwrap();
    for word in [
        "loss",
        "accuracy",
        "learning rate",
        "epoch",
        "training",
        "test",
    ] {
        assert!(svg.contains(word), "{word}");
    }
    assert!(!svg.contains("validation"));
    let png = image::open(place.path("run/curves.png")).unwrap().to_rgb8();
    let colours: BTreeSet<[u8; 3]> = png.pixels().map(|pixel| pixel.0).collect();
    assert_eq!(png.get_pixel(0, 0).0, [255; 3]);
    assert!(colours.len() > 10, "{} colours", colours.len());

    // The same run is the same picture; another is another.
    place.train("--out again");
    let again = fs::read_to_string(place.path("again/curves.svg")).unwrap();
    assert_eq!(again, svg);
    place.train("--validation 40 --schedule cosine --out other");
    let other = fs::read_to_string(place.path("other/curves.svg")).unwrap();
    assert!(other.contains("validation"));
    // The rates are the one curve in the colour of ink: a level line, and one that falls.
    let heights = |svg: &str| {
        let curve = svg
            .lines()
            .find(|line| line.contains("polyline") && line.contains("#222222"));
        let points = curve.unwrap().split("points=\"").nth(1).unwrap();
        let points = points.split('"').next().unwrap().split_whitespace();
        points
            .map(|point| point.split(',').nth(1).unwrap().parse::<i32>().unwrap())
            .collect::<Vec<_>>()
    };
    let (level, falling) = (heights(&svg), heights(&other));
    assert!(level.iter().all(|height| *height == level[0]), "{level:?}");
    assert!(
        falling.is_sorted() && falling[0] < *falling.last().unwrap(),
        "{falling:?}"
    );
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_its_curves_too() {
    let place = Place::new();
    let mut child = place
        .process(&format!("{TRAIN} --epochs 100000 --quiet --out run"))
        .spawn()
        .unwrap();
    while !place.path("run/history.csv").exists() {
        assert!(child.try_wait().unwrap().is_none(), "training has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(
        Process::new("kill")
            .args([interrupt(), &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(&place.path("run")), RUN_FILES);
}

#[test]
fn plot_draws_the_curves_as_text_without_escape_codes_where_there_is_no_terminal() {
    let place = Place::new();
    let plain = stderr(&place.train(""));
    let assert = place.train("--plot");
    let drawn = stderr(&assert);
    let braille = |text: &str| text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c));
    assert!(!braille(&plain) && braille(&drawn), "{drawn}");
    assert!(!drawn.contains('\x1b'));
    for word in ["loss", "accuracy", "training", "test"] {
        assert!(drawn.contains(word), "{word}: {drawn}");
    }
    assert!(!stdout(&assert).chars().any(|c| c > '\u{2800}'));
    place.fails(
        2,
        &format!("{TRAIN} --plot --quiet"),
        &["--plot", "--quiet"],
    );
}

/// `script` runs the program on a terminal of its own.
#[cfg(target_os = "linux")]
#[test]
fn plot_grows_with_the_epochs_and_is_left_standing() {
    let place = Place::new();
    let program = assert_cmd::cargo::cargo_bin!("longhand").display();
    let line = format!("stty cols 100; {program} {TRAIN} --epochs 60 --plot");
    let output = Process::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(place.folder.path())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    // The end: the plot with its legend, in colours, then the result.
    let result = text.rfind("test accuracy").unwrap();
    let legend = text[..result].rfind("training").unwrap();
    assert!(
        text[legend..result].contains("\x1b["),
        "the legend has colours"
    );
    let titles = text.matches("accuracy, %").count();
    assert!(
        titles >= 2,
        "drawn while it trains, and at the end: {titles}"
    );
    let widest = text[..result]
        .rsplit("\r\n")
        .take(15)
        .map(console_width)
        .max();
    assert!(widest.unwrap() > 60 && widest.unwrap() < 100, "{widest:?}");
}

/// The columns of a line, its escape codes taken out.
#[cfg(target_os = "linux")]
fn console_width(line: &str) -> usize {
    let mut columns = 0;
    let mut code = false;
    for c in line.chars() {
        match (code, c) {
            (false, '\x1b') => code = true,
            (false, _) => columns += 1,
            (true, c) => code = !c.is_ascii_alphabetic(),
        }
    }
    columns
}

#[test]
fn an_old_run_is_whole_until_the_new_one_has_weights() {
    let place = Place::new();
    place.train("--validation 40 --out run");
    let (model, record) = (place.model("run"), place.run("run"));
    let line = format!("{TRAIN} --out run --overwrite --lr 1e30");
    place.fails(
        1,
        &line,
        &["diverged", "the run that was in run is still there"],
    );
    assert_eq!(place.model("run"), model);
    assert_eq!(place.run("run"), record);
    assert!(place.path("run/best.safetensors").exists());
    // And then nothing of it is left.
    place.train("--out run --overwrite");
    assert_eq!(names(&place.path("run")), RUN_FILES);
    assert_ne!(place.run("run"), record);
}
