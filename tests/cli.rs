//! The program as people run it: a process, its output, its status, and the files it leaves.

#![cfg(feature = "cli")]

mod place;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, SystemTime};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use assert_cmd::cargo::cargo_bin;
use image::{GrayImage, Luma};
use longhand::data::{Elements, Idx};
use longhand::engines::EngineKind;
use longhand::model::Model;
use place::*;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

// What each command prints.

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
    let kind = EngineKind::Cpu;
    let mut engine =
        longhand::engines::open(kind, model.network, model.normalisation, None).unwrap();
    let state = longhand::optimisers::TrainingState::from_parameters(model.parameters);
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
        if matches!(kind, EngineKind::Cuda(_)) {
            // One sentence says why there is no GPU; `engines.rs` has what one does.
            let line = "test --data data --model run/model.safetensors --engine cuda";
            place.fails(1, line, &["error: GPU: "]);
            continue;
        }
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
fn a_gpu_that_is_not_there_is_an_error_and_no_end() {
    let place = Place::new();
    for line in [
        "train --engine cuda:99 --out run",
        "gradcheck --engine cuda:99",
    ] {
        place.fails(1, line, &["error: GPU: "]);
    }
    assert!(!place.path("run").exists());
    for engine in ["cuda:", "cuda:x", "cuda:-1", "gpu"] {
        place.fails(
            2,
            &format!("train --engine {engine}"),
            &["possible values", "cuda"],
        );
    }
    place.fails(
        2,
        "train --engine cuda --threads 2",
        &["leave out --threads"],
    );
}

#[test]
fn devices_json_is_one_object() {
    let assert = Place::new().succeeds("devices --json").stderr("");
    let devices: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    let engines = devices["engines"].as_array().unwrap();
    assert_eq!(engines.len(), EngineKind::ALL.len());
    for (engine, kind) in engines.iter().zip(EngineKind::ALL) {
        assert_eq!(engine["name"], kind.name());
        assert_eq!(engine["about"], kind.about());
    }
    let threads = std::thread::available_parallelism().unwrap();
    assert_eq!(devices["cpu"]["threads"], threads.get());
    assert!(!devices["cpu"]["name"].as_str().unwrap().is_empty());
    assert!(devices["cpu"]["features"].is_array());
    assert!(devices["gpus"].is_array());
    // The driver's version, or why there is none.
    let cuda = devices["cuda"].as_object().unwrap();
    assert!(cuda.contains_key("version") != cuda.contains_key("missing"));
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

    for engine in ["reference", "im2col", "lanes"] {
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
fn summary_says_how_lanes_computes_each_layer() {
    let place = Place::new();
    let network =
        "input 1x28x28, conv2d 2 5, relu, max_pool2d 2, conv2d 3 2, flatten, linear 40, linear 10";
    fs::write(place.path("odd"), network).unwrap();
    let layers = "summary --network @odd";
    let summary = |path: &str, line: &str| {
        let mut command = place.longhand(line);
        command.env("LONGHAND_LANES", path).assert()
    };
    summary("portable", layers)
        .success()
        .stdout(contains("computes it by portable, 8 images at a time"))
        .stdout(contains(
            "Winograd along the rows, fused with relu and max_pool2d",
        ))
        .stdout(contains(
            "conv2d 3 2                                 direct",
        ))
        .stdout(contains(
            "linear 40, linear 10                       in the lanes, merged into one layer",
        ));
    let json = stdout(&summary("portable", &format!("{layers} --json")).success());
    let summary_json: Value = serde_json::from_str(&json).unwrap();
    let lanes = &summary_json["lanes"];
    assert_eq!(
        (&lanes["path"], &lanes["images"]),
        (&"portable".into(), &8.into())
    );
    assert_eq!(lanes["stages"].as_array().map(Vec::len), Some(3));

    let words = ["LONGHAND_LANES", "sse9", "portable"];
    for line in ["summary", "test --model builtin"] {
        failed(summary("sse9", line), 1, &words);
    }
}

#[test]
fn max_memory_is_in_megabytes() {
    let place = Place::new();
    place.fails(
        1,
        "gradcheck --max-memory 1",
        &["about ", " MB", "--max-memory allows more"],
    );
    place.succeeds("gradcheck --max-memory 100");
}

#[test]
fn gradcheck_json_is_one_object() {
    let line = "gradcheck --network @net --seed 3 --engine reference --json";
    let assert = Place::new().succeeds(line).stderr("");
    let result: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    assert_eq!(result["network"], NETWORK);
    assert_eq!(result["seed"], 3);
    assert_eq!(result["engine"], "reference");
    assert_eq!(result["right"], true);
    for (table, tolerance) in [("finite_differences", 1e-6), ("against_reference", 1e-5)] {
        let table = &result[table];
        assert_eq!(table["tolerance"], tolerance);
        let tensors = table["tensors"].as_array().unwrap();
        let weight = tensors.iter().find(|tensor| tensor["name"] == "4.weight");
        assert!(weight.unwrap()["compared"].as_u64().unwrap() > 0);
        for tensor in tensors {
            assert_eq!(tensor["right"], true);
            assert!(tensor["error"].as_f64().unwrap() <= table["tolerance"].as_f64().unwrap());
        }
    }
}

#[test]
fn show_prints_captions_and_images_side_by_side() {
    let place = Place::new();
    let assert = place.succeeds("show --data data --count 9").stderr("");
    let text = stdout(&assert);
    let lines: Vec<&str> = text.lines().collect();
    // Eight images of eight columns, with two between them, fit in 80.
    let captions: Vec<String> = (0..9).map(|n| format!("#{n}: {}", n % 4)).collect();
    let first: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(first.join(" "), captions[..8].join(" "));
    // Four lines of two rows each, then an empty one before the next row of images.
    assert_eq!(lines[5], "");
    assert_eq!(lines[6], captions[8]);
    assert_eq!(lines.len(), 6 + 5);
    // Image n has its light bar on line n % 4: the bar's line has the most ink.
    let ink = |line: usize, image: usize| {
        let cell = lines[1 + line].chars().skip(10 * image).take(8);
        let level = |c| " .:-=+*#%@".find(c).unwrap();
        cell.map(level).sum::<usize>()
    };
    for image in 0..8 {
        let brightest = (0..4).max_by_key(|&line| ink(line, image));
        assert_eq!(brightest, Some(image % 4), "{text}");
    }
}

#[test]
fn show_json_is_one_object_an_image_with_its_pixels() {
    let place = Place::new();
    let show = |flags: &str| -> Vec<Value> {
        let assert = place.succeeds(&format!("show --data data --json {flags}"));
        let text = stdout(&assert);
        let objects = text.lines().map(|line| serde_json::from_str(line).unwrap());
        objects.collect()
    };
    let indices = |objects: &[Value]| -> Vec<u64> {
        let indices = objects.iter().map(|o| o["index"].as_u64().unwrap());
        indices.collect()
    };
    assert_eq!(indices(&show("")), (0..12).collect::<Vec<_>>());
    assert_eq!(indices(&show("--start 198")), [198, 199]);
    assert_eq!(indices(&show("--start 5 --count 2")), [5, 6]);
    // The start counts all images, whatever their class.
    let class = show("--start 6 --count 3 --class 1");
    assert_eq!(indices(&class), [9, 13, 17]);
    assert!(class.iter().all(|object| object["label"] == 1));

    for (split, first) in [("train", 0), ("test", 200)] {
        let objects = show(&format!("--split {split} --start 3 --count 1"));
        let [object] = &objects[..] else {
            panic!("one object, not {objects:?}");
        };
        assert_eq!(object.as_object().unwrap().len(), 4);
        assert_eq!(object["index"], 3);
        assert_eq!(object["label"], (first + 3) % 4);
        assert_eq!(object["split"], split);
        let planes: Vec<Vec<Vec<u8>>> = serde_json::from_value(object["pixels"].clone()).unwrap();
        assert_eq!(planes.len(), 1);
        assert_eq!(planes[0].len(), 8);
        assert_eq!(planes[0].concat(), pixels(first + 3));
    }
}

#[test]
fn show_out_writes_a_picture_instead() {
    let place = Place::new();
    let show = |flags: &str| {
        place.succeeds(&format!("show --data data --out grid.png {flags}"));
        image::open(place.path("grid.png")).unwrap().to_luma8()
    };
    let one = show("--count 1");
    let four = show("--count 4");
    assert!(four.width() > one.width() && four.height() > one.height());
    assert_ne!(show("--count 1 --start 1"), one);
    place
        .succeeds("show --data data --count 1 --out one.png")
        .stdout("one.png: 1 image\n");
    place
        .succeeds("show --data data --split test --class 3 --out all.png")
        .stdout("all.png: 12 images\n");
    place.fails(
        1,
        "show --data data --out nowhere/grid.png",
        &["error: nowhere/grid.png: "],
    );
}

#[test]
fn show_says_why_there_is_nothing_to_show() {
    let place = Place::new();
    place.write_data("prefixed", "mine-");
    place.succeeds("show --data prefixed --prefix mine");
    for (flags, message) in [
        ("--start 200", "--start 200: the train images are 0 to 199"),
        (
            "--split test --start 50",
            "--start 50: the test images are 0 to 49",
        ),
        ("--class 4", "--class 4: the classes are 0 to 3"),
        (
            "--start 198 --class 1",
            "no train image from 198 on is of class 1",
        ),
        ("--prefix mine", "mine-train-images-idx3-ubyte"),
    ] {
        place.fails(1, &format!("show --data data {flags}"), &[message]);
    }
}

#[test]
fn summary_shows_the_memory_of_a_training_step() {
    let place = Place::new();
    let summary = |flags: &str| place.succeeds(&format!("summary --network @net {flags}"));
    // 96 parameters, and 248 pixels and activations an image; 4 bytes each.
    for (flags, images, activations, total) in [
        ("", 32, 31_744, 64_640),
        ("--batch-size 1000", 1000, 992_000, 1_985_152),
    ] {
        let memory = summary_json(&summary(&format!("{flags} --json")))["memory"].clone();
        let expected = serde_json::json!({
            "batch_size": images,
            "parameters": 384,
            "gradients": 384,
            "velocity": 384,
            "activations": activations,
            "activation_gradients": activations,
            "total": total,
        });
        assert_eq!(memory, expected);
    }
    summary("")
        .stdout(contains("batch size 32,"))
        .stdout(contains(" 384 bytes      384 B\n").count(3))
        .stdout(contains(" 31,744 bytes    31.7 kB\n").count(2))
        .stdout(contains(" 64,640 bytes    64.6 kB\n"));
    summary("--batch-size 1000").stdout(contains(" 1,985,152 bytes     2.0 MB\n"));
    // The largest batch of large images is counted without overflow.
    let largest = "summary --batch-size 4294967295 --json --network @large";
    fs::write(place.path("large"), "input 1x8000x8000, flatten").unwrap();
    let total = 4 * 2 * 2 * 64_000_000 * 4_294_967_295_u64;
    assert_eq!(
        summary_json(&place.succeeds(largest))["memory"]["total"],
        total
    );
}

fn summary_json(assert: &Assert) -> Value {
    serde_json::from_str(&stdout(assert)).unwrap()
}

#[test]
fn summary_json_is_the_table() {
    let place = Place::new();
    let table = summary_json(&place.succeeds("summary --json"));
    assert_eq!(table["input"], serde_json::json!([1, 28, 28]));
    let layers = table["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 9);
    assert_eq!(
        layers[3],
        serde_json::json!({
            "layer": "conv2d 20 5",
            "name": "conv2.0",
            "output": [20, 8, 8],
            "parameters": 5020,
            "forward_flops": 640_000,
            "backward_flops": 1_280_000,
        })
    );
    for what in ["parameters", "forward_flops", "backward_flops"] {
        let sum: u64 = layers.iter().map(|l| l[what].as_u64().unwrap()).sum();
        assert_eq!(table[what], sum, "{what}");
    }
    assert_eq!(table["parameters"], 21_840);
    let names: Vec<Value> = summary_json(&place.succeeds("summary --json --network mlp"))["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["name"].clone())
        .collect();
    assert_eq!(names, ["0", "1", "2", "3"]);
}

#[test]
fn summary_pytorch_is_a_program_with_the_models_network_and_normalisation() {
    let place = Place::new();
    place
        .succeeds("summary --pytorch")
        .stdout(contains(
            "        conv1=nn.Sequential(\n            nn.Conv2d(1, 10, 5),",
        ))
        .stdout(contains("MEAN = [0.1307]\nDEVIATION = [0.3081]\n"))
        .stdout(predicates::str::ends_with("    main(*sys.argv[1:])\n"));
    place
        .succeeds("summary --pytorch --network mlp")
        .stdout(contains("        nn.Linear(784, 128),"));

    place.train("--out run");
    let model = Model::open(&place.path("run/model.safetensors"), None).unwrap();
    let [mean, deviation] = [model.normalisation.mean(), model.normalisation.deviation()];
    place
        .succeeds("summary --pytorch --model run/model.safetensors")
        .stdout(predicates::str::starts_with(format!("\"\"\"{NETWORK}\n")))
        .stdout(contains(format!(
            "MEAN = {mean:?}\nDEVIATION = {deviation:?}\n"
        )));
}

#[test]
fn completions_are_scripts_for_each_shell() {
    let place = Place::new();
    for (shell, word) in [
        ("bash", "complete -F _longhand"),
        ("zsh", "#compdef longhand"),
        ("fish", "complete -c longhand"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        place
            .succeeds(&format!("completions {shell}"))
            .stderr("")
            .stdout(contains(word))
            .stdout(contains("weight-decay"));
    }
    place.fails(2, "completions tcsh", &["'tcsh'", "bash", "powershell"]);
    place.fails(2, "completions", &["<SHELL>"]);
}

#[test]
fn man_is_the_programs_page_or_a_commands() {
    let place = Place::new();
    place
        .succeeds("man")
        .stdout(contains(".TH longhand 1"))
        .stdout(contains("gradcheck"));
    place
        .succeeds("man train")
        .stdout(contains(".TH longhand-train 1"))
        .stdout(contains("\\fBlonghand train\\fR"))
        .stdout(contains("weight\\-decay"));
    place.fails(2, "man teach", &["`teach`", "train, test, predict"]);
}

#[test]
fn help_names_every_command_and_every_flag_of_train() {
    let place = Place::new();
    let mut help = place.succeeds("--help");
    let commands = [
        "train",
        "test",
        "predict",
        "show",
        "summary",
        "import",
        "export",
        "devices",
        "gradcheck",
        "completions",
        "man",
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
        "--init",
        "--max-memory",
        "--emnist",
        "--out",
        "--resume",
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
        ("show --count 0", &["'0'", "--count"]),
        ("show --start -1", &["-1"]),
        ("show --split all", &["'all'", "train", "test"]),
        ("show --prefix emnist", &["--data"]),
        ("show --json --out grid.png", &["--json", "--out"]),
        ("summary --batch-size 0", &["'0'", "--batch-size"]),
        ("summary --pytorch --json", &["--pytorch", "--json"]),
        (
            "summary --pytorch --batch-size 4",
            &["--pytorch", "--batch-size"],
        ),
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

// Signals, pipes and terminals.

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
        "summary --pytorch",
        "gradcheck --network @net",
        "show --data data --json",
        "completions bash",
        "man train",
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
    let show = "show --data data";
    for line in [
        &format!("{TRAIN} --epochs 2"),
        "test --data data",
        show,
        "--help",
    ] {
        place
            .succeeds(line)
            .stdout(escape().not())
            .stderr(escape().not());
    }
    for line in [show, "--help"] {
        let forced = || {
            let mut forced = place.longhand(line);
            forced.env("CLICOLOR_FORCE", "1");
            forced
        };
        forced().assert().stdout(escape());
        forced()
            .env("NO_COLOR", "1")
            .assert()
            .stdout(escape().not());
    }
    let colours = |term: &str| {
        let mut forced = place.longhand(show);
        forced.env("CLICOLOR_FORCE", "1").env("COLORTERM", term);
        forced.assert().success()
    };
    colours("").stdout(contains("\x1b[38;5;"));
    colours("truecolor").stdout(contains("\x1b[38;2;"));
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

/// `script` gives a terminal whose width `stty` sets.
#[cfg(target_os = "linux")]
#[test]
fn show_draws_as_many_images_side_by_side_as_the_terminal_is_wide() {
    let place = Place::new();
    let captions = |columns: usize, environment: &str| {
        let program = cargo_bin!("longhand").display();
        let line = format!("stty rows 24 cols {columns}; {environment} {program} show --data data");
        let output = Process::new("script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(place.folder.path())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .env_remove("COLORTERM")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let first = text.lines().next().unwrap_or_default();
        (first.matches('#').count(), text.contains("\x1b[38;5;"))
    };
    assert_eq!(captions(38, ""), (4, true));
    assert_eq!(captions(37, ""), (3, true));
    assert_eq!(captions(5, ""), (1, true));
    assert_eq!(captions(38, "NO_COLOR=1"), (4, false));
}

#[cfg(feature = "mnist")]
#[test]
fn pytorchs_checkpoint_is_a_model_wherever_one_is_asked_for() {
    let place = Place::new();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs::copy(fixtures.join("tutorial.pth"), place.path("net.pth")).unwrap();
    fs::copy(fixtures.join("pictures/gray.png"), place.path("gray.png")).unwrap();
    place
        .succeeds("predict gray.png --model net.pth")
        .stderr(contains("model: net.pth, trained on unknown data"));
    place
        .succeeds("summary --model net.pth")
        .stdout(contains("linear 50, linear 10"));
    place.succeeds("export net.pth --onnx net.onnx");
    place.succeeds("test --model net.pth --json");
    // Of ten classes, where the data have four: a new last layer.
    place
        .succeeds("train --init net.pth --epochs 1 --out run")
        .stderr(contains("first weights: "));
    let other = "test --data data --model net.pth --network lenet5";
    place.fails(1, other, &["net.pth: ", "not of `lenet5`"]);
    place.fails(
        1,
        "test --data data --model net.pth",
        &["reads images of 1x28x28"],
    );
}

/// A name that would change the terminal's title and colour, and write over the line before.
#[cfg(unix)]
#[test]
fn what_a_terminal_would_obey_in_a_files_name_is_not_passed_on() {
    let place = Place::new();
    let name = "\u{1b}]0;title\u{7}\u{1b}[31m\u{9b}2J\r\u{1b}[1Aok.png";
    place.write_picture(name, 1);
    fs::rename(place.path("data"), place.path("\u{1b}[7m")).unwrap();
    for words in [
        vec!["predict", name],
        vec!["predict", name, "--json"],
        vec!["predict", "nowhere\u{1b}[31m"],
        vec!["show", "--data", "\u{1b}[7m", "--count", "1"],
        vec!["show", "--data", "\u{1b}[7m", "--out", "\u{1b}[8m.png"],
        vec!["show", "--data", "\u{1b}[9m"],
        vec!["test", "--data", "\u{1b}[7m", "--model", "\u{1b}[7m"],
        vec![
            "train",
            "--data",
            "\u{1b}[7m",
            "--network",
            "@net",
            "--epochs",
            "1",
            "--out",
            "\u{1b}[1m",
        ],
        vec![
            "test",
            "--data",
            "\u{1b}[7m",
            "--model",
            "\u{1b}[1m/model.safetensors",
        ],
        vec!["export", "builtin", "--onnx", "\u{1b}[1m.onnx"],
        vec!["import", "\u{1b}[7m", "--out", "x"],
    ] {
        let assert = place.longhand("").args(&words).assert();
        let output = assert.get_output();
        for stream in [&output.stdout, &output.stderr] {
            let text = String::from_utf8(stream.clone()).unwrap();
            let obeyed = |c: char| c.is_control() && c != '\n';
            assert!(!text.contains(obeyed), "{words:?}: {text:?}");
        }
    }
    let assert = place
        .longhand("")
        .args(["predict", name, "--json"])
        .assert();
    let json: serde_json::Value = serde_json::from_str(&stdout(&assert)).unwrap();
    assert_eq!(json["image"], name);
}
