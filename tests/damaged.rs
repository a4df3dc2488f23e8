//! Every file of `tests/damaged`, which is cut, damaged or hostile, is answered with the error that
//! `errors.json` has for it: no panic, nothing written, and on Linux in less than a gigabyte.
//! `scripts/damaged_files.py` made them.

mod place;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use place::{FILES, Place, names, stderr, stdout};

/// Of the files of bare weights.
const SMALL: &str = "input 1x2x2, flatten, linear 4";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/damaged")
}

/// Puts the file where it does harm, and gives the command that meets it there.
fn put(place: &Place, name: &str) -> String {
    let at = |to: &str| {
        fs::copy(folder().join(name), place.path(to)).unwrap();
    };
    let (_, ending) = name.split_once('.').unwrap();
    match ending {
        "idx" | "idx.gz" => {
            fs::remove_file(place.path("data").join(FILES[0])).unwrap();
            let gz = ending.strip_prefix("idx").unwrap();
            at(&format!("data/{}{gz}", FILES[0]));
            "show --data data".to_owned()
        }
        "safetensors" => {
            at(name);
            format!("test --data data --model {name}")
        }
        "pth" => {
            at(name);
            format!("test --data data --model {name} --network @small")
        }
        "txt" => {
            at(name);
            format!("train --data data --network @{name} --out run")
        }
        "png" | "jpg" => {
            at(name);
            format!("predict {name} --model builtin")
        }
        "state" => {
            fs::create_dir(place.path("run")).unwrap();
            fs::write(place.path("run/.lock"), "").unwrap();
            at("run/state.safetensors");
            "train --data data --network @net --out run --resume".to_owned()
        }
        other => panic!("no command for .{other}"),
    }
}

/// The program with the words of `line`, in less than a gigabyte where that can be had.
fn within_a_gigabyte(place: &Place, line: &str) -> Command {
    if !cfg!(target_os = "linux") {
        return place.longhand(line);
    }
    let mut shell = Process::new("sh");
    shell
        .args(["-c", "ulimit -v 1000000 && exec \"$0\" \"$@\""])
        .arg(cargo_bin!("longhand"))
        .args(line.split_whitespace())
        .current_dir(place.folder.path())
        // One pool for all threads: each one's own would be counted as if it were full.
        .env("MALLOC_ARENA_MAX", "1")
        .env_remove("RUST_BACKTRACE");
    Command::from_std(shell)
}

/// How much memory is needed depends on the processor's vectors and threads.
fn without_amount(error: &str) -> String {
    match error.split_once("needs about ") {
        None => error.to_owned(),
        Some((before, behind)) => {
            let behind = behind.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}needs about …{behind}")
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for name in names(folder) {
        match folder.join(name) {
            below if below.is_dir() => files.extend(self::files(&below)),
            file => files.push(file),
        }
    }
    files
}

#[test]
fn every_damaged_file_is_answered_with_its_error() {
    let json = fs::read(folder().join("errors.json")).unwrap();
    let errors: BTreeMap<String, String> = serde_json::from_slice(&json).unwrap();
    let mut all = names(&folder());
    all.retain(|name| name != "errors.json");
    let mut found = BTreeMap::new();
    for name in &all {
        let place = Place::new();
        fs::write(place.path("small"), SMALL).unwrap();
        let line = put(&place, name);
        let before = files(place.folder.path());
        let assert = within_a_gigabyte(&place, &line).assert();
        let said = stderr(&assert);
        assert_eq!(assert.get_output().status.code(), Some(1), "{name}: {said}");
        assert_eq!(stdout(&assert), "", "{name}");
        assert!(!said.contains("panicked"), "{name}: {said}");
        let obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!said.contains(obeyed), "{name}: {said:?}");
        assert_eq!(files(place.folder.path()), before, "{name}");
        let last = said.lines().last().unwrap_or_default().to_owned();
        found.insert(name.clone(), without_amount(&last));
    }
    let text = serde_json::to_string_pretty(&found).unwrap();
    assert!(found == errors, "these are the errors now:\n{text}");
}

#[test]
fn what_is_whole_is_not_refused() {
    // The same limit does not keep anybody from working.
    let place = Place::new();
    for line in [
        "train --data data --network @net --epochs 1 --out run",
        "test --data data --model run/model.safetensors",
        "train --epochs 1 --out tutorial",
        "predict picture.png --model tutorial/model.safetensors",
    ] {
        place.write_picture("picture.png", 1);
        within_a_gigabyte(&place, line).assert().success();
    }
}
