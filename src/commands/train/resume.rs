//! `longhand train --resume`: finds the run to go on with, and refuses another than that.

use std::path::Path;

use serde_json::Value;

use super::Args;
use crate::commands::Failure;
use longhand::training::run_record::{DataRecord, Resumed, RunRecord};
use longhand::training::{Checkpoint, RunFolder, run_folder};

/// The folder of the run to go on with, and what is left of it; nothing where there is none.
pub fn find(args: &Args) -> Result<(Option<RunFolder>, Option<Checkpoint>), Failure> {
    let newest = || run_folder::newest(Path::new(run_folder::RUNS));
    match args.out.clone().or_else(newest) {
        // A folder that is still to be made is made when all else is known to be right.
        Some(path) if path.exists() => {
            let (folder, checkpoint) = RunFolder::resume(&path)?;
            Ok((Some(folder), checkpoint))
        }
        _ => Ok((None, None)),
    }
}

/// The `stored` run with what is asked for `now`.
///
/// Fails, naming all of it, if something differs that the weights depend on.
pub fn go_on(stored: Checkpoint, now: RunRecord) -> Result<Checkpoint, Failure> {
    let differences = differences(&stored.record, &now);
    if !differences.is_empty() {
        let message = format!(
            "the run to go on with is another: {}",
            differences.join("; ")
        );
        return Err(Failure::Failed(message.into()));
    }
    let done = stored.history.last().map_or(0, |last| last.epoch);
    let mut record = RunRecord {
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
    if done < record.recipe.epochs {
        record.resumed.push(Resumed {
            at: now.started,
            after_epoch: done,
            command: now.command,
        });
    }
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
