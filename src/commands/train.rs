//! `longhand train`: trains a network, shows it, and writes a run's folder.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::{DataArgs, EngineArgs, Failure, NetworkArg, devices};
use crate::report::{Bar, grouped, line, note, percent};
use longhand::data::Data;
use longhand::digest;
use longhand::engines::Engine;
use longhand::model::Model;
use longhand::network::{Network, Preset};
use longhand::optimisers::{Sgd, StepRule};
use longhand::training::{
    EpochRecord, Event, Options, RunFolder, RunFolderError, TrainingError, run_folder, train,
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// A preset (tutorial, lenet5, mlp), a text, or @FILE [default: tutorial]
    #[arg(long, value_parser = NetworkArg::parse)]
    network: Option<NetworkArg>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Passes over the training set
    #[arg(long, value_name = "N", default_value = "5")]
    epochs: NonZeroU32,
    /// Images in a step
    #[arg(long, value_name = "N", default_value = "32")]
    batch_size: NonZeroUsize,
    /// Learning rate
    #[arg(long, value_name = "X", default_value = "0.01")]
    #[arg(value_parser = not_negative, allow_negative_numbers = true)]
    lr: f64,
    /// Momentum
    #[arg(long, value_name = "X", default_value = "0.5")]
    #[arg(value_parser = not_negative, allow_negative_numbers = true)]
    momentum: f64,
    /// L2 penalty
    #[arg(long, value_name = "X", default_value = "0")]
    #[arg(value_parser = not_negative, allow_negative_numbers = true)]
    weight_decay: f64,
    /// Nesterov's momentum
    #[arg(long)]
    nesterov: bool,
    /// What the first weights and the order of the images are drawn from
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// The run's folder [default: the next free runs/N]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace the run that is in --out
    #[arg(long, requires = "out")]
    overwrite: bool,
    /// Print one JSON object an epoch instead of text
    #[arg(long)]
    json: bool,
    /// No bar and no messages, only the result
    #[arg(long)]
    quiet: bool,
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("it must be a number of at least 0".to_owned()),
    }
}

/// Set by Ctrl-C.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub fn run(args: &Args, started: Instant) -> Result<(), Failure> {
    let optimiser = Sgd {
        lr: args.lr,
        momentum: args.momentum,
        weight_decay: args.weight_decay,
        nesterov: args.nesterov,
    };
    optimiser
        .check()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let options = Options {
        epochs: args.epochs.get(),
        seed: args.seed,
        rule: StepRule {
            batch_size: args.batch_size.get(),
            optimiser,
        },
    };
    // A second Ctrl-C does not wait for anything.
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;

    let data = args.data.open()?;
    let [default, ..] = Preset::ALL;
    let description = match &args.network {
        Some(network) => network.description(data.train.classes())?,
        None => default.description(data.train.classes()),
    };
    let network = Network::new(&description, Some(data.train.images().shape()))?;
    network.check_classes(data.train.classes())?;
    let mut engine = args
        .engine
        .open(network.clone(), data.normalisation.clone())?;
    let folder = match &args.out {
        Some(path) => RunFolder::at(path, args.overwrite)?,
        None => RunFolder::next(Path::new(run_folder::RUNS))?,
    };

    let mut run = Run {
        args,
        started,
        bar: Bar::new(options.epochs, !args.quiet),
        model: Model {
            network,
            normalisation: data.normalisation.clone(),
            parameters: Vec::new(),
            trained_on: data.name.clone(),
        },
        folder,
        record: Value::Null,
        first_step: None,
        history: Vec::new(),
        failure: None,
    };
    run.begin(&data, engine.as_ref(), &options)?;
    let result = train(engine.as_mut(), &data, &options, &mut |event| {
        run.watch(&event)
    });
    run.bar.clear();
    run.end(result)
}

/// A run under way: what is shown of it, and what is written.
struct Run<'a> {
    args: &'a Args,
    started: Instant,
    bar: Bar,
    /// The weights of the last epoch.
    model: Model,
    folder: RunFolder,
    /// `run.json`.
    record: Value,
    /// Seconds from the program's start to the end of the first step.
    first_step: Option<f64>,
    history: Vec<EpochRecord>,
    /// Why `watch` stopped training, if not for Ctrl-C.
    failure: Option<Failure>,
}

impl Run<'_> {
    /// Writes `run.json` before anything is computed, so that a folder that cannot be written is
    /// known at once.
    fn begin(
        &mut self,
        data: &Data,
        engine: &dyn Engine,
        options: &Options,
    ) -> Result<(), RunFolderError> {
        let Sgd {
            lr,
            momentum,
            weight_decay,
            nesterov,
        } = options.rule.optimiser;
        let command: Vec<String> = std::env::args_os()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        self.record = json!({
            "longhand": env!("CARGO_PKG_VERSION"),
            "command": command,
            "status": "running",
            "started": jiff::Timestamp::now().to_string(),
            "machine": {
                "cpu": devices::cpu_name(),
                "engine": engine.name(),
                "threads": engine.threads(),
            },
            "data": {
                "name": data.name,
                "train_images": data.train.len(),
                "test_images": data.test.len(),
                "classes": data.train.classes(),
                "mean": data.normalisation.mean(),
                "deviation": data.normalisation.deviation(),
                "files": data.files,
            },
            "network": self.model.network.to_string(),
            "parameters": self.model.network.parameter_count(),
            "options": {
                "epochs": options.epochs,
                "batch_size": options.rule.batch_size,
                "optimiser": "sgd",
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "seed": options.seed,
            },
        });
        if !self.args.quiet {
            note(format_args!(
                "{}: {} training images, {} test images, {} classes",
                data.name,
                grouped(data.train.len() as u64),
                grouped(data.test.len() as u64),
                data.train.classes()
            ));
            note(format_args!("network: {}", self.model.network));
            let threads = match engine.threads() {
                1 => "1 thread".to_owned(),
                threads => format!("{threads} threads"),
            };
            note(format_args!(
                "{} parameters, engine {}, {threads}",
                grouped(self.model.network.parameter_count() as u64),
                engine.name(),
            ));
        }
        self.folder.save_run(&self.record)
    }

    /// Shows and saves what training says, and stops it if that fails or Ctrl-C was pressed.
    fn watch(&mut self, event: &Event) -> ControlFlow<()> {
        match event {
            Event::Progress { epoch, progress } => {
                let since = self.started.elapsed().as_secs_f64();
                self.first_step.get_or_insert(since);
                self.bar.update(*epoch, progress);
            }
            Event::Epoch { record, state } => {
                self.history.push(**record);
                self.model.parameters.clone_from(&state.parameters);
                if let Err(failure) = self.epoch(record) {
                    self.failure = Some(failure);
                    return ControlFlow::Break(());
                }
            }
        }
        if INTERRUPTED.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn epoch(&self, record: &EpochRecord) -> Result<(), Failure> {
        self.folder.save_epoch(&self.model, &self.history)?;
        if self.args.json {
            self.bar
                .suspend(|| line(format_args!("{}", record.json())))?;
        } else if !self.args.quiet {
            let rate = record.train.examples as f64 / record.seconds;
            let text = format!(
                "epoch {}/{}  train: loss {:.4}, accuracy {}  test: loss {:.4}, accuracy {}  {:.2} s, {} images/s",
                record.epoch,
                self.args.epochs,
                record.train.loss(),
                percent(record.train.accuracy()),
                record.test.loss(),
                percent(record.test.accuracy()),
                record.seconds,
                grouped(rate as u64),
            );
            self.bar.suspend(|| line(format_args!("{text}")))?;
        }
        Ok(())
    }

    /// Completes `run.json` and says how training ended.
    fn end(mut self, result: Result<Vec<EpochRecord>, TrainingError>) -> Result<(), Failure> {
        let failure = match (result, self.failure.take()) {
            (Ok(_), None) => None,
            (_, Some(failure)) => Some(("failed", failure)),
            (Err(TrainingError::Stopped { epoch }), None) => {
                let message = format!("interrupted in epoch {epoch}: {}", self.kept());
                Some(("interrupted", Failure::Interrupted(message)))
            }
            (Err(error), None) => {
                let message = format!("{error}. {}", capitalised(&self.kept()));
                Some(("failed", Failure::Failed(message.into())))
            }
        };
        let training: f64 = self.history.iter().map(|record| record.seconds).sum();
        let total = self.started.elapsed().as_secs_f64();
        let hash = digest::sha256(&self.model.parameters);
        let status = failure.as_ref().map_or("finished", |(status, _)| *status);
        self.record["status"] = json!(status);
        self.record["ended"] = json!(jiff::Timestamp::now().to_string());
        self.record["seconds"] = json!({
            "start_to_first_step": self.first_step,
            "training": training,
            "total": total,
        });
        let last = self.history.last().copied();
        if let Some(last) = &last {
            self.record["result"] = last.json();
            self.record["result"]["weights_sha256"] = json!(hash);
        }
        let written = self.folder.save_run(&self.record);
        if let Some((_, failure)) = failure {
            return Err(failure);
        }
        written?;
        let Some(last) = last.filter(|_| !self.args.json) else {
            return Ok(());
        };
        line(format_args!(
            "test accuracy {} after {} epoch{}, {training:.2} s of training, {total:.2} s in all",
            percent(last.test.accuracy()),
            last.epoch,
            if last.epoch == 1 { "" } else { "s" },
        ))?;
        line(format_args!("weights SHA-256 {hash}"))?;
        line(format_args!(
            "{}: model.safetensors, history.csv, run.json",
            self.folder.path().display()
        ))?;
        Ok(())
    }

    /// What is left of a run that did not end.
    fn kept(&self) -> String {
        match self.history.last() {
            Some(last) => format!(
                "the weights after epoch {} are in {}",
                last.epoch,
                self.folder.model().display()
            ),
            None => "no epoch was done, so there are no weights yet".to_owned(),
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().collect::<String>() + characters.as_str(),
        None => String::new(),
    }
}
