//! `longhand train`: trains a network, shows it, and writes a run's folder.

mod recipe;
mod resume;
mod signals;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::{PossibleValue, PossibleValuesParser};

use self::resume::Found;
use super::{BUILTIN, DataArgs, EngineArgs, Failure, NetworkArg, described, devices, open_model};
use crate::report::curves::curves;
use crate::report::plot::plot;
use crate::report::{Bar, drawn_note, grouped, line, may_draw, note, percent, terminal_size};
use longhand::data::Data;
use longhand::digest;
use longhand::engines::lanes::Settings;
use longhand::engines::memory::Load;
use longhand::engines::{Engine, EngineKind};
use longhand::formats::weights::ModelFault;
use longhand::model::Model;
use longhand::network::initialisation::transferred_parameters;
use longhand::network::{Description, LayerText, Network};
use longhand::optimisers::{StepRule, TrainingState};
use longhand::training::run_record::{
    DataRecord, InitRecord, Machine, RunRecord, RunResult, Seconds, Status,
};
use longhand::training::{
    Checkpoint, EpochRecord, Event, Recipe, RunFolder, Start, TrainingError, is_over, run_folder,
    train,
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
    /// Begin with all settings of a recipe that has a name; other flags change them
    #[arg(long, value_name = "NAME", value_parser = recipe_names())]
    recipe: Option<String>,
    /// Repeat the run in this folder: its network, data, engine and settings; other flags change
    /// them
    #[arg(long, value_name = "RUN", conflicts_with = "recipe")]
    like: Option<PathBuf>,
    #[command(flatten)]
    settings: recipe::RecipeArgs,
    /// Begin with the weights of a safetensors file, PyTorch's .pth, or `builtin`; a last layer for
    /// other classes is new
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// The run's folder [default: the next free runs/N]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in --out that was stopped [default: the newest run under runs/]; where
    /// there is none, begin. Settings must be as they were, but for --threads, --engine and, with
    /// a constant rate or one that falls by steps, more --epochs
    #[arg(long)]
    resume: bool,
    /// Replace the run that is in --out
    #[arg(long, requires = "out", conflicts_with = "resume")]
    overwrite: bool,
    /// Draw the curves in the terminal as the epochs come
    #[arg(long, conflicts_with = "quiet")]
    plot: bool,
    /// Print one JSON object an epoch instead of text
    #[arg(long)]
    json: bool,
    /// No bar and no messages, only the result
    #[arg(long)]
    quiet: bool,
}

fn recipe_names() -> PossibleValuesParser {
    let value = |(name, about)| PossibleValue::new(name).help(about);
    PossibleValuesParser::new(Recipe::NAMES.map(value))
}

/// Points of the learning rate's curve: enough that a picture shows no corner that is none.
const RATES: u64 = 600;

/// How often the curves are drawn while epochs go by; at the end they always are.
const CURVES_EVERY: Duration = Duration::from_secs(10);

pub fn run(args: &Args, started: Instant) -> Result<(), Failure> {
    let like = match &args.like {
        Some(folder) => Some(RunFolder::record(folder)?),
        None => None,
    };
    let Found {
        folder,
        stored,
        begun,
    } = match args.resume {
        true => resume::find(args)?,
        false => Found::default(),
    };
    // What is done again from its first step.
    let again = like.as_ref().or(begun.as_ref());
    // What is not asked for is as in this run.
    let before = again.or(stored.as_ref().map(|stored| &stored.record));
    let base = match (before, &args.recipe) {
        (_, Some(name)) => Recipe::named(name).unwrap_or_default(),
        (Some(run), None) => run.recipe,
        (None, None) => Recipe::default(),
    };
    let recipe = args.settings.over(base)?;
    signals::watch()?;

    let source = match before {
        Some(run) => args.data.or(&run.data),
        None => args.data.clone(),
    };
    let data = match args.quiet {
        true => source.open_quietly()?,
        false => source.open()?,
    };
    if let (Some(run), None) = (again, &args.data.data) {
        check_same_data(&data, run)?;
    }
    let (held_out, images) = (recipe.validation, data.train.len());
    if held_out >= images {
        return Err(TrainingError::Validation { held_out, images }.into());
    }
    let init = Init::open(args, again, data.train.images().shape())?;
    let description = description(args, before, init.as_ref(), &data)?;
    let network = Network::new(&description, Some(data.train.images().shape()));
    let network = network.map_err(|error| match (&init, &args.network, before) {
        // Nobody asked for this network but the file.
        (Some(init), None, None) => {
            let message = format!("{}, on these images: {error}", init.path.display());
            Failure::Failed(message.into())
        }
        _ => error.into(),
    })?;
    network.check_classes(data.train.classes())?;
    let recorded = before.and_then(|run| EngineKind::named(&run.last_machine().engine));
    let kind = args.engine.engine.or(recorded).unwrap_or(EngineKind::Auto);
    let mut engine = args.engine.open_or(
        kind,
        network.clone(),
        data.normalisation.clone(),
        Load {
            batch: recipe.batch_size.min(data.train.len()),
            images: data.test.len().max(recipe.validation),
        },
    )?;
    let initial = match &init {
        Some(init) => Some(init.transfer(&network, recipe.seed)?),
        None => None,
    };
    let (weights, init) = initial.unzip();
    let machine = machine(kind, engine.as_ref());
    let mut record = record(&source, &data, &network, machine.clone(), recipe, init);
    if let (Some(run), None) = (again, &args.data.data) {
        // Not by the full path that it was found at.
        record.data.name.clone_from(&run.data.name);
    }
    let checkpoint = match (stored, &folder) {
        (Some(stored), Some(folder)) => resume::go_on(stored, record, folder)?,
        _ => Checkpoint {
            record,
            history: Vec::new(),
            state: TrainingState::from_parameters(Vec::new()),
            best: None,
        },
    };
    let start = match (&checkpoint.history[..], weights) {
        ([], Some(weights)) => Start::Weights(weights),
        ([], None) => Start::Drawn,
        (history, _) => Start::After {
            history: history.to_vec(),
            state: checkpoint.state.clone(),
        },
    };
    let folder = match (folder, &args.out) {
        (Some(folder), _) => folder,
        (None, Some(path)) => RunFolder::at(path, args.overwrite)?,
        (None, None) => RunFolder::next(Path::new(run_folder::RUNS))?,
    };

    let examples = data.train.len().saturating_sub(recipe.validation);
    let mut run = Run {
        args,
        started,
        computing: machine,
        was_over: is_over(&checkpoint.history, &recipe),
        unsaved: false,
        bar: Bar::new(recipe.epochs, !args.quiet),
        checkpoint,
        folder,
        like,
        rule: recipe.rule(examples),
        drawn: started,
        first_step: None,
        failure: None,
    };
    run.begin()?;
    let result = train(engine.as_mut(), &data, &recipe, start, &mut |event| {
        run.watch(&event)
    });
    run.bar.clear();
    run.end(result)
}

/// The network's layers: as asked for, as in the run `before`, as in the first weights, or the
/// default; a preset's and the first weights' last layer with one output a class.
fn description(
    args: &Args,
    before: Option<&RunRecord>,
    init: Option<&Init>,
    data: &Data,
) -> Result<Description, Failure> {
    let classes = data.train.classes();
    match (&args.network, before, init) {
        (None, Some(run), _) => Ok(run.network.parse()?),
        (None, None, Some(init)) => {
            let mut description = init.model.network.description().clone();
            // For other images it is a tensor that does not fit, which is then named.
            description.input = None;
            if let Some(LayerText::Linear { out_features }) = description.layers.last_mut() {
                *out_features = classes;
            }
            Ok(description)
        }
        (asked, ..) => described(asked.as_ref(), classes),
    }
}

/// Data that have changed since a run cannot repeat it.
fn check_same_data(data: &Data, run: &RunRecord) -> Result<(), Failure> {
    for (now, then) in data.files.iter().zip(&run.data.files) {
        if now.md5 != then.md5 {
            let message = format!(
                "{} is not what that run learned from (MD5 {}, then {}); to train on it all the same, name its folder with --data",
                now.name, now.md5, then.md5
            );
            return Err(Failure::Failed(message.into()));
        }
    }
    Ok(())
}

/// The weights that training begins with.
struct Init {
    /// Their file's full path, or [`BUILTIN`].
    path: PathBuf,
    model: Model,
    weights_sha256: String,
}

impl Init {
    /// Those of `--init`, or else of the run to repeat, if it had any. Bare weights whose network's text
    /// has no input are taken to be for `images` as the data's.
    fn open(
        args: &Args,
        like: Option<&RunRecord>,
        images: [usize; 3],
    ) -> Result<Option<Self>, Failure> {
        let recorded = like.and_then(|run| run.init.as_ref());
        let path = match (&args.init, recorded) {
            (Some(path), _) if path.as_os_str() == BUILTIN => path.clone(),
            (Some(path), _) => std::path::absolute(path)?,
            (None, Some(init)) => init.model.clone().into(),
            (None, None) => return Ok(None),
        };
        let asked = match &args.network {
            Some(NetworkArg::Preset(_)) | None => None,
            Some(other) => {
                let mut asked = other.description(0)?;
                asked.input.get_or_insert(images);
                Some(asked)
            }
        };
        // A file that says its network says it itself: only bare weights need to be told.
        let model = open_model(&path, None).or_else(|error| match &asked {
            Some(asked) if matches!(error.fault, ModelFault::NoNetwork) => {
                open_model(&path, Some(asked))
            }
            _ => Err(error),
        })?;
        let weights_sha256 = digest::sha256(&model.parameters);
        if let (None, Some(init)) = (&args.init, recorded)
            && init.weights_sha256 != weights_sha256
        {
            let message = format!(
                "{}: not the weights that run began with (SHA-256 {weights_sha256}, then {})",
                path.display(),
                init.weights_sha256
            );
            return Err(Failure::Failed(message.into()));
        }
        Ok(Some(Self {
            path,
            model,
            weights_sha256,
        }))
    }

    /// The first weights of `network`, and what to say of them.
    fn transfer(&self, network: &Network, seed: u64) -> Result<(Vec<f32>, InitRecord), Failure> {
        let Model {
            network: from,
            parameters,
            ..
        } = &self.model;
        let (weights, drawn) =
            transferred_parameters(network, seed, from, parameters).map_err(|error| {
                let message = format!("{}: {error}", self.path.display());
                Failure::Failed(message.into())
            })?;
        let record = InitRecord {
            model: self.path.to_string_lossy().into_owned(),
            weights_sha256: self.weights_sha256.clone(),
            drawn,
        };
        Ok((weights, record))
    }
}

/// What computes.
fn machine(kind: EngineKind, engine: &dyn Engine) -> Machine {
    let settings = match engine.name() {
        "lanes" => Settings::from_environment().ok(),
        _ => None,
    };
    Machine {
        cpu: devices::cpu_name(),
        engine: match kind {
            // Which of the GPUs.
            EngineKind::Cuda(_) => kind.to_string(),
            _ => engine.name().to_owned(),
        },
        instructions: settings.map(|settings| settings.path.name().to_owned()),
        threads: engine.threads(),
    }
}

/// `run.json` before the first step.
fn record(
    source: &DataArgs,
    data: &Data,
    network: &Network,
    machine: Machine,
    recipe: Recipe,
    init: Option<InitRecord>,
) -> RunRecord {
    let full = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    RunRecord {
        longhand: env!("CARGO_PKG_VERSION").to_owned(),
        command: std::env::args_os()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect(),
        status: Status::Running,
        started: jiff::Timestamp::now().to_string(),
        resumed: Vec::new(),
        ended: None,
        machine,
        data: DataRecord {
            name: data.name.clone(),
            folder: (source.data.as_ref()).map(|path| full(path).to_string_lossy().into_owned()),
            prefix: source.prefix.clone(),
            train_images: data.train.len(),
            test_images: data.test.len(),
            classes: data.train.classes(),
            class_names: data.class_names.clone(),
            emnist: data.emnist.is_some(),
            mean: data.normalisation.mean().to_vec(),
            deviation: data.normalisation.deviation().to_vec(),
            files: data.files.clone(),
        },
        network: network.to_string(),
        parameters: network.parameter_count(),
        init,
        recipe,
        seconds: None,
        result: None,
    }
}

/// A run under way: what is shown of it, and what is written.
struct Run<'a> {
    args: &'a Args,
    started: Instant,
    /// What computes now, which may be another than what the run began with.
    computing: Machine,
    /// Whether there was nothing left to do.
    was_over: bool,
    /// Whether the last epoch could not be saved.
    unsaved: bool,
    bar: Bar,
    /// The run at the end of its last epoch, with `run.json`.
    checkpoint: Checkpoint,
    folder: RunFolder,
    /// The run that is being repeated.
    like: Option<RunRecord>,
    /// What every step does, which knows the learning rates.
    rule: StepRule,
    /// When the curves were drawn last.
    drawn: Instant,
    /// Seconds from the program's start to the end of the first step.
    first_step: Option<f64>,
    /// Why `watch` stopped training, if not for Ctrl-C.
    failure: Option<Failure>,
}

impl Run<'_> {
    /// Writes `run.json` before anything is computed, so that a folder that cannot be written is
    /// known at once; and what was stopped, perhaps in the midst of writing, is written again.
    fn begin(&mut self) -> Result<(), Failure> {
        let machine = &self.computing;
        let RunRecord {
            data,
            recipe,
            init,
            network,
            parameters,
            ..
        } = &self.checkpoint.record;
        let done = self.checkpoint.history.len();
        if !self.args.quiet {
            let held_out = match recipe.validation {
                0 => String::new(),
                n => format!(" ({} held out)", grouped(n as u64)),
            };
            note(format_args!(
                "{}: {} training images{held_out}, {} test images, {} classes",
                data.name,
                grouped(data.train_images as u64),
                grouped(data.test_images as u64),
                data.classes
            ));
            note(format_args!("network: {network}"));
            if let Some(init) = init {
                let drawn = match &init.drawn[..] {
                    [] => String::new(),
                    names => format!("; drawn anew: {}", names.join(", ")),
                };
                note(format_args!("first weights: {}{drawn}", init.model));
            }
            let threads = match machine.threads {
                1 => "1 thread".to_owned(),
                threads => format!("{threads} threads"),
            };
            note(format_args!(
                "{} parameters, engine {}, {threads}",
                grouped(*parameters as u64),
                machine.engine,
            ));
            if done > 0 {
                let (folder, epochs) = (self.folder.path().display(), recipe.epochs);
                match (self.was_over, done == epochs as usize) {
                    (true, true) => note(format_args!("{folder}: all {epochs} epochs are done")),
                    (true, false) => note(format_args!(
                        "{folder}: stopped after epoch {done} of {epochs}, its patience being at an end"
                    )),
                    (false, _) => note(format_args!(
                        "{folder}: going on after epoch {done} of {epochs}"
                    )),
                }
            }
        }
        self.folder.save_run(&self.checkpoint.record)?;
        if done > 0 {
            self.folder.save_epoch(&self.checkpoint)?;
        }
        Ok(())
    }

    /// Shows and saves what training says, and stops it if that fails or Ctrl-C was pressed.
    fn watch(&mut self, event: &Event) -> ControlFlow<()> {
        match event {
            Event::Progress { epoch, progress } => {
                let since = self.started.elapsed().as_secs_f64();
                self.first_step.get_or_insert(since);
                self.bar.update(*epoch, progress);
            }
            Event::Epoch {
                record,
                state,
                weights,
                best,
            } => {
                let checkpoint = &mut self.checkpoint;
                checkpoint.history.push(**record);
                checkpoint.state.clone_from(state);
                if *best {
                    checkpoint.best = Some(weights.to_vec());
                }
                if let Err(failure) = self.epoch(record) {
                    self.failure = Some(failure);
                    return ControlFlow::Break(());
                }
            }
        }
        if signals::interrupted() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), Failure> {
        let saved = self.folder.save_epoch(&self.checkpoint);
        self.unsaved = saved.is_err();
        saved?;
        if self.checkpoint.history.len() == 1 {
            // An older run that was in the folder is gone only now.
            self.folder.save_run(&self.checkpoint.record)?;
        }
        if self.drawn.elapsed() >= CURVES_EVERY {
            self.draw_curves()?;
        }
        if self.args.plot {
            let (plot, [_, rows]) = (self.plot(), terminal_size(io::stderr()));
            // What is higher than the terminal would push the bar out of it.
            if plot.lines().count() < usize::from(rows) {
                self.bar.set_above(&plot);
            }
        }
        if self.args.json {
            let row = serde_json::to_string(&record.row())?;
            self.bar.suspend(|| line(format_args!("{row}")))?;
        } else if !self.args.quiet {
            let rate = record.train.examples as f64 / record.seconds;
            let judged = [
                ("train", Some(record.train)),
                ("validation", record.validation),
                ("test", Some(record.test)),
            ];
            let judged = judged.iter().filter_map(|(name, metrics)| {
                let metrics = metrics.as_ref()?;
                let (loss, accuracy) = (metrics.loss(), percent(metrics.accuracy()));
                Some(format!("{name}: loss {loss:.4}, accuracy {accuracy}  "))
            });
            let text = format!(
                "epoch {}/{}  {}{:.2} s, {} images/s",
                record.epoch,
                self.checkpoint.record.recipe.epochs,
                judged.collect::<String>(),
                record.seconds,
                grouped(rate as u64),
            );
            self.bar.suspend(|| line(format_args!("{text}")))?;
        }
        Ok(())
    }

    /// Writes the history as pictures.
    fn draw_curves(&mut self) -> Result<(), Failure> {
        let done = self
            .checkpoint
            .history
            .last()
            .map_or(0, |last| u64::from(last.epoch));
        let per_epoch = self.rule.steps.per_epoch;
        let rates: Vec<[f64; 2]> = (0..RATES)
            .map(|index| {
                let step = index * (done * per_epoch - 1) / (RATES - 1);
                let epochs = (step + 1) as f64 / per_epoch as f64;
                [epochs, self.rule.lr(step)]
            })
            .collect();
        let picture = curves(&self.checkpoint.history, &rates)?;
        self.folder.save_curves(&picture.svg, &picture.png)?;
        self.drawn = Instant::now();
        Ok(())
    }

    /// The history as lines of text, as wide as the terminal.
    fn plot(&self) -> String {
        let [width, _] = terminal_size(io::stderr());
        let epochs = self.checkpoint.record.recipe.epochs;
        plot(
            &self.checkpoint.history,
            epochs,
            width.saturating_sub(1),
            may_draw(),
        )
    }

    /// Completes `run.json` and says how training ended.
    fn end(mut self, result: Result<Vec<EpochRecord>, TrainingError>) -> Result<(), Failure> {
        if self.unsaved {
            // What is told of the run is what its folder has.
            match self.folder.checkpoint() {
                Ok(Some(saved)) if !self.folder.has_old_run() => self.checkpoint = saved,
                // Written, but no longer to be read.
                Err(_) if !self.folder.has_old_run() => drop(self.checkpoint.history.pop()),
                _ => self.checkpoint.history.clear(),
            }
        }
        let failure = match (result, self.failure.take()) {
            (Ok(_), None) => None,
            (_, Some(Failure::Failed(error))) if self.unsaved => {
                let message = format!("{error}. {}", capitalised(&self.kept()));
                Some((Status::Failed, Failure::Failed(message.into())))
            }
            (_, Some(failure)) => Some((Status::Failed, failure)),
            (Err(TrainingError::Stopped { epoch }), None) => {
                let message = format!("interrupted in epoch {epoch}: {}", self.kept());
                Some((Status::Interrupted, Failure::Interrupted(message)))
            }
            (Err(error), None) => {
                let kept = match error.diverged() {
                    true => self.kept_to_begin_with(),
                    false => self.kept(),
                };
                let message = format!("{error}. {}", capitalised(&kept));
                Some((Status::Failed, Failure::Failed(message.into())))
            }
        };
        let drawn = match self.checkpoint.history.is_empty() {
            true => Ok(()),
            false => self.draw_curves(),
        };
        if self.args.plot && !self.checkpoint.history.is_empty() {
            drawn_note(&self.plot());
        }
        let seconds = Seconds {
            start_to_first_step: self.first_step,
            training: self
                .checkpoint
                .history
                .iter()
                .map(|record| record.seconds)
                .sum(),
            total: self.started.elapsed().as_secs_f64(),
        };
        let hash = digest::sha256(self.rule.weights(&self.checkpoint.state));
        self.checkpoint.record.status = failure
            .as_ref()
            .map_or(Status::Finished, |(status, _)| *status);
        let ended = jiff::Timestamp::now().to_string();
        let record = &mut self.checkpoint.record;
        match (self.was_over, record.seconds) {
            // It was only looked at again.
            (true, Some(_)) => {}
            _ => (record.ended, record.seconds) = (Some(ended), Some(seconds)),
        }
        let seconds = record.seconds.unwrap_or(seconds);
        let last = self.checkpoint.history.last().copied();
        self.checkpoint.record.result = last.map(|last| RunResult {
            last: last.row(),
            weights_sha256: hash.clone(),
            best: self.checkpoint.best_epoch().map(EpochRecord::row),
        });
        let written = self.folder.save_run(&self.checkpoint.record);
        if let Some((_, failure)) = failure {
            return Err(failure);
        }
        drawn?;
        written?;
        match last {
            Some(last) if !self.args.json => self.say_result(&last, &hash, seconds),
            Some(_) if !self.args.quiet => {
                if let Some(repeated) = self.repeated(&hash) {
                    note(format_args!("{repeated}"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn say_result(&self, last: &EpochRecord, hash: &str, seconds: Seconds) -> Result<(), Failure> {
        let epochs = self.checkpoint.record.recipe.epochs;
        if let (Some(patience), true) =
            (self.checkpoint.record.recipe.patience, last.epoch < epochs)
        {
            line(format_args!(
                "stopped after epoch {} of {epochs}: no better validation in {patience}",
                last.epoch
            ))?;
        }
        line(format_args!(
            "test accuracy {} after {} epoch{}, {:.2} s of training, {:.2} s {}",
            percent(last.test.accuracy()),
            last.epoch,
            if last.epoch == 1 { "" } else { "s" },
            seconds.training,
            seconds.total,
            match self.checkpoint.record.resumed.is_empty() {
                true => "in all",
                false => "since it was resumed",
            },
        ))?;
        if let Some(best) = self.checkpoint.best_epoch()
            && let Some(validation) = best.validation
        {
            line(format_args!(
                "best by validation: epoch {}, validation accuracy {}, test accuracy {}",
                best.epoch,
                percent(validation.accuracy()),
                percent(best.test.accuracy()),
            ))?;
        }
        line(format_args!("weights SHA-256 {hash}"))?;
        if let Some(repeated) = self.repeated(hash) {
            line(format_args!("{repeated}"))?;
        }
        line(format_args!(
            "{}: {}",
            self.folder.path().display(),
            self.folder.files().join(", ")
        ))?;
        Ok(())
    }

    /// Whether a repeated run gave the same weights, if it was asked to do the same to its end; and if
    /// not, what computed the other.
    fn repeated(&self, hash: &str) -> Option<String> {
        let (folder, like) = self.args.like.as_ref().zip(self.like.as_ref())?;
        let what = |run: &RunRecord| {
            let md5s = run.data.files.iter().map(|file| file.md5.clone());
            (
                run.network.clone(),
                run.recipe,
                run.init.as_ref().map(|init| init.weights_sha256.clone()),
                md5s.collect::<Vec<_>>(),
                run.data.emnist,
            )
        };
        let result = like.result.as_ref()?;
        if what(like) != what(&self.checkpoint.record) || like.status != Status::Finished {
            return None;
        }
        let folder = folder.display();
        Some(match result.weights_sha256 == hash {
            true => format!("the same weights as {folder}, bit for bit"),
            false => format!(
                "other weights than {folder} ({}): that was longhand {}, {} on {}",
                result.weights_sha256,
                like.longhand,
                like.engines().join(", then "),
                like.machine.cpu
            ),
        })
    }

    /// What is left of a run that did not end.
    fn kept(&self) -> String {
        match self.checkpoint.history.last() {
            Some(last) => format!(
                "the weights after epoch {} are in {}; --out {} --resume goes on from there",
                last.epoch,
                self.folder.model().display(),
                self.folder.path().display()
            ),
            None => self.nothing_kept(),
        }
    }

    /// The same where to go on from there would end the same way.
    fn kept_to_begin_with(&self) -> String {
        match self.checkpoint.history.last() {
            Some(last) => format!(
                "the weights after epoch {} are in {model}; --init {model} begins with them",
                last.epoch,
                model = self.folder.model().display(),
            ),
            None => self.nothing_kept(),
        }
    }

    fn nothing_kept(&self) -> String {
        match self.folder.has_old_run() {
            true => format!(
                "no epoch was done; the run that was in {} is still there",
                self.folder.path().display()
            ),
            false => "no epoch was done, so there are no weights yet".to_owned(),
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
