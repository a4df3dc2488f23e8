//! `longhand train --resume`: finds the run to go on with, and refuses another than that.

use std::path::Path;

use serde_json::Value;

use super::Args;
use crate::commands::Failure;
use longhand::training::run_record::{DataRecord, Resumed, RunRecord};
use longhand::training::{Checkpoint, RunFolder, is_over, run_folder};

/// The run to go on with; nothing where there is none.
#[derive(Default)]
pub struct Found {
    pub folder: Option<RunFolder>,
    /// What is left of it.
    pub stored: Option<Checkpoint>,
    /// What it was to be, if it was stopped before its first epoch was done.
    pub begun: Option<RunRecord>,
}

pub fn find(args: &Args) -> Result<Found, Failure> {
    let newest = || run_folder::newest(Path::new(run_folder::RUNS));
    match args.out.clone().or_else(newest) {
        // A folder that is still to be made is made when all else is known to be right.
        Some(path) if path.exists() => {
            let (folder, stored) = RunFolder::resume(&path)?;
            let begun = match stored {
                None if folder.files().contains(&run_folder::RUN) => {
                    Some(RunFolder::record(&path)?)
                }
                _ => None,
            };
            Ok(Found {
                folder: Some(folder),
                stored,
                begun,
            })
        }
        _ => Ok(Found::default()),
    }
}

/// The `stored` run of this folder with what is asked for `now`.
///
/// Fails, naming all of it, if something differs that the weights depend on.
pub fn go_on(
    stored: Checkpoint,
    now: RunRecord,
    folder: &RunFolder,
) -> Result<Checkpoint, Failure> {
    let differences = differences(&stored.record, &now);
    if !differences.is_empty() {
        let message = format!(
            "the run to go on with is another: {}",
            differences.join("; ")
        );
        return Err(Failure::Failed(message.into()));
    }
    if is_over(&stored.history, &now.recipe) {
        // How it ended is only in `run.json`.
        let ended = RunFolder::record(folder.path()).ok();
        let record = ended.filter(|run| run.started == stored.record.started);
        return Ok(Checkpoint {
            record: record.unwrap_or(stored.record),
            ..stored
        });
    }
    let done = stored.history.last().map_or(0, |last| last.epoch);
    let mut record = RunRecord {
        longhand: stored.record.longhand,
        machine: stored.record.machine,
        command: stored.record.command,
        started: stored.record.started,
        resumed: stored.record.resumed,
        init: stored.record.init,
        // The same data may lie elsewhere now, and the model should still be the same file.
        data: DataRecord {
            name: stored.record.data.name,
            ..now.data
        },
        ..now
    };
    record.resumed.push(Resumed {
        at: now.started,
        after_epoch: done,
        command: now.command,
        machine: Some(now.machine),
    });
    Ok(Checkpoint { record, ..stored })
}

/// What the two runs differ in, but for what no weight depends on.
fn differences(stored: &RunRecord, now: &RunRecord) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, stored: &str, now: &str| {
        if stored != now {
            differences.push(format!("{what} is {stored}, now {now}"));
        }
    };
    compare("its network", &stored.network, &now.network);
    for (stored, now) in stored.data.files.iter().zip(&now.data.files) {
        let what = format!("the MD5 of {}", stored.name);
        compare(&what, &stored.md5, &now.md5);
    }
    let of = |values: &[f32]| format!("{values:?}");
    let (then, today) = (&stored.data, &now.data);
    let emnist = |data: &DataRecord| data.emnist.to_string();
    compare("--emnist", &emnist(then), &emnist(today));
    compare("the pixels' mean", &of(&then.mean), &of(&today.mean));
    compare(
        "the pixels' deviation",
        &of(&then.deviation),
        &of(&today.deviation),
    );
    if let Some(init) = &now.init {
        let then = stored.init.as_ref();
        compare(
            "the SHA-256 of its first weights",
            then.map_or("that of no file", |init| &init.weights_sha256),
            &init.weights_sha256,
        );
    }

    let mut recipe = now.recipe;
    if recipe.epochs > stored.recipe.epochs && !recipe.schedule.looks_ahead() {
        recipe.epochs = stored.recipe.epochs;
    }
    let (stored, now) = (settings(&stored.recipe), settings(&recipe));
    for (name, value) in &stored {
        match now.iter().find(|(other, _)| other == name) {
            Some((_, other)) => compare(name, value, other),
            None => compare(name, value, "none"),
        }
    }
    for (name, value) in &now {
        if !stored.iter().any(|(other, _)| other == name) {
            compare(name, "none", value);
        }
    }
    differences
}

/// A recipe as names with values, as in `optimiser.sgd.lr`.
fn settings(recipe: &impl serde::Serialize) -> Vec<(String, String)> {
    fn put(name: &str, value: &Value, settings: &mut Vec<(String, String)>) {
        match value {
            Value::Object(parts) => {
                for (part, value) in parts {
                    let name = match name {
                        "" => part.clone(),
                        _ => format!("{name}.{part}"),
                    };
                    put(&name, value, settings);
                }
            }
            Value::Null => settings.push((name.to_owned(), "none".to_owned())),
            value => settings.push((name.to_owned(), value.to_string())),
        }
    }
    let mut settings = Vec::new();
    let value = serde_json::to_value(recipe).expect("a recipe is plain numbers");
    put("", &value, &mut settings);
    settings
}
