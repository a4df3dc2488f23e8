//! One file a subcommand: its flags and its output. Here: what several of them share.

mod completions;
mod devices;
mod export;
mod gradcheck;
mod import;
mod man;
mod predict;
mod show;
mod summary;
mod test;
mod train;

use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};

use crate::report;
use longhand::data::{Data, Emnist, Normalisation};
use longhand::engines::memory::{Load, MAX_MEMORY, check_memory};
use longhand::engines::{self, Engine, EngineError, EngineKind};
use longhand::formats::weights::{ModelError, ModelFault};
use longhand::model::Model;
use longhand::network::{Description, Network, Preset};
use longhand::optimisers::TrainingState;
use longhand::training::run_folder;
use longhand::training::run_record::DataRecord;

#[derive(Subcommand)]
pub enum Command {
    /// Train a network and write a run's folder
    Train(Box<train::Args>),
    /// Measure a model on the test set
    Test(test::Args),
    /// Say which digit a picture shows
    Predict(predict::Args),
    /// Show labelled images of the data
    Show(show::Args),
    /// Show a network's layers, shapes, parameters, operations and memory, or as a PyTorch program
    Summary(summary::Args),
    /// Make a training set of a folder of pictures
    Import(import::Args),
    /// Write a model as ONNX, for other programs
    Export(export::Args),
    /// Show the engines and the hardware that they can use here
    Devices(devices::Args),
    /// Check every gradient against finite differences and against the reference engine
    Gradcheck(gradcheck::Args),
    /// Print what completes longhand's commands and flags in a shell
    Completions(completions::Args),
    /// Print a manual page
    Man(man::Args),
}

impl Command {
    pub fn run(self, started: Instant) -> Result<(), Failure> {
        match self {
            Command::Train(args) => train::run(&args, started),
            Command::Test(args) => test::run(&args),
            Command::Predict(args) => predict::run(&args),
            Command::Summary(args) => summary::run(&args),
            Command::Show(args) => show::run(&args),
            Command::Import(args) => import::run(&args),
            Command::Export(args) => export::run(&args),
            Command::Devices(args) => devices::run(&args),
            Command::Gradcheck(args) => gradcheck::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        }
    }
}

/// How a command ends when it does not end well.
pub enum Failure {
    /// Status 1, with what went wrong.
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// Status 1; the command has said why.
    Reported,
    /// Status 2: flags that do not belong together.
    Usage(String),
    /// Status 130, with what is kept.
    Interrupted(String),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(Box::new(error))
    }
}

#[derive(Args, Clone)]
struct DataArgs {
    /// Folder with four IDX files, plain or .gz, or torchvision's folder above raw or MNIST/raw
    /// [default: MNIST, from inside the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Beginning of the files' names, as in PREFIX-train-images-idx3-ubyte
    #[arg(long, value_name = "PREFIX", requires = "data")]
    prefix: Option<String>,
    /// The files are EMNIST's: images transposed, labels perhaps from 1 [default: by --prefix]
    #[arg(long, requires = "data")]
    emnist: bool,
}

impl DataArgs {
    /// These, or where none were given those of a run.
    fn or(&self, run: &DataRecord) -> Self {
        if self.data.is_some() {
            return self.clone();
        }
        Self {
            data: run.folder.as_ref().map(PathBuf::from),
            prefix: run.prefix.clone(),
            emnist: run.emnist,
        }
    }

    /// Opens the data, and says on stderr what had to be put right.
    fn open(&self) -> Result<Data, Failure> {
        let data = self.open_quietly()?;
        if let Some(Emnist { shifted }) = data.emnist {
            let classes = data.train.classes();
            let labels = match shifted {
                true => format!("; labels 1 to {classes} were made 0 to {}", classes - 1),
                false => String::new(),
            };
            report::note(format_args!(
                "EMNIST's images are stored transposed and were turned upright{labels}"
            ));
        }
        Ok(data)
    }

    fn open_quietly(&self) -> Result<Data, Failure> {
        let prefix = self.prefix.as_deref();
        match &self.data {
            Some(folder) if self.emnist => Ok(Data::open_as(folder, prefix, true)?),
            Some(folder) => Ok(Data::open(folder, prefix)?),
            None => builtin_data(),
        }
    }
}

#[cfg(feature = "mnist")]
fn builtin_data() -> Result<Data, Failure> {
    Ok(longhand::data::mnist()?)
}

#[cfg(not(feature = "mnist"))]
fn builtin_data() -> Result<Data, Failure> {
    Err(Failure::Usage(
        "this program was built without MNIST inside: name a folder with --data".to_owned(),
    ))
}

/// [`EngineKind`] as clap wants it.
#[derive(Clone, Copy)]
struct EngineValue(EngineKind);

impl ValueEnum for EngineValue {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [EngineValue; EngineKind::ALL.len()] = {
            let mut all = [EngineValue(EngineKind::Auto); EngineKind::ALL.len()];
            let mut index = 0;
            while index < all.len() {
                all[index] = EngineValue(EngineKind::ALL[index]);
                index += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()).help(self.0.about()))
    }
}

/// Reads an engine's name, and `cuda:N`.
#[derive(Clone)]
struct EngineParser;

impl TypedValueParser for EngineParser {
    type Value = EngineKind;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<EngineKind, clap::Error> {
        match value.to_str().and_then(EngineKind::named) {
            Some(kind) => Ok(kind),
            // Which says what there is.
            None => EnumValueParser::<EngineValue>::new()
                .parse_ref(command, argument, value)
                .map(|EngineValue(kind)| kind),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = EngineValue::value_variants().iter();
        Some(Box::new(values.filter_map(EngineValue::to_possible_value)))
    }
}

#[derive(Args)]
struct EngineArgs {
    /// What computes [default: auto]
    #[arg(long, value_parser = EngineParser)]
    engine: Option<EngineKind>,
    /// How many threads compute, 1024 at most [default: as many as the machine has]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,
    /// The most memory that a network may take, about, in megabytes [default: 800]
    #[arg(long, value_name = "MB")]
    max_memory: Option<u64>,
}

/// Far more than there are cores only take memory, until the system refuses another.
fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= 1024 => Ok(threads),
        _ => Err("it must be a whole number from 1 to 1024".to_owned()),
    }
}

impl EngineArgs {
    /// The engine, unless the network would take too much memory under this load.
    fn open(
        &self,
        network: Network,
        normalisation: Normalisation,
        load: Load,
    ) -> Result<Box<dyn Engine>, Failure> {
        self.open_or(EngineKind::Auto, network, normalisation, load)
    }

    /// The same with another engine where none was asked for.
    fn open_or(
        &self,
        default: EngineKind,
        network: Network,
        normalisation: Normalisation,
        load: Load,
    ) -> Result<Box<dyn Engine>, Failure> {
        let threads = self.threads.map(NonZeroUsize::get);
        let kind = match self.engine.unwrap_or(default) {
            // Threads are the CPU's; and what is asked of a model once is done there before a GPU has
            // started.
            EngineKind::Auto if threads.is_some() || load.batch == 0 => EngineKind::Cpu,
            kind => kind,
        };
        if kind == EngineKind::Reference && threads.is_some_and(|threads| threads > 1) {
            let message = "the engine reference has one thread: leave out --threads";
            return Err(Failure::Usage(message.to_owned()));
        }
        if matches!(kind, EngineKind::Cuda(_)) && threads.is_some() {
            let message = "the engine cuda has the GPU's threads: leave out --threads";
            return Err(Failure::Usage(message.to_owned()));
        }
        let most = self
            .max_memory
            .map_or(MAX_MEMORY, |mb| mb.saturating_mul(1_000_000));
        match check_memory(kind, &network, threads, load, most) {
            Err(error @ EngineError::Memory { .. }) => {
                let message = format!("{error}; --max-memory allows more");
                return Err(Failure::Failed(message.into()));
            }
            other => other?,
        }
        Ok(engines::open(kind, network, normalisation, threads)?)
    }

    /// An engine with a model's weights, to be asked for the logits of so many images.
    fn load(&self, model: &Model, images: usize) -> Result<Box<dyn Engine>, Failure> {
        let load = Load { batch: 0, images };
        let mut engine = self.open(model.network.clone(), model.normalisation.clone(), load)?;
        engine.load(&TrainingState::from_parameters(model.parameters.clone()))?;
        Ok(engine)
    }
}

/// The most bytes that are read of a network's file; the longest network is far shorter.
const MAX_TEXT: u64 = 1 << 20;

/// `--network`: a preset's name, a text, or `@` and a file with a text.
#[derive(Clone, Debug)]
enum NetworkArg {
    Preset(Preset),
    Text(Description),
    File(PathBuf),
}

/// The layers that `asked` means, or those of the default, for so many classes.
fn described(asked: Option<&NetworkArg>, classes: usize) -> Result<Description, Failure> {
    let [default, ..] = Preset::ALL;
    match asked {
        Some(network) => network.description(classes),
        None => Ok(default.description(classes)),
    }
}

/// The same as a network without data: where its text names no input, for MNIST's images.
fn network_alone(asked: Option<&NetworkArg>) -> Result<Network, Failure> {
    let description = described(asked, 10)?;
    Ok(Network::new(
        &description,
        description.input.or(Some([1, 28, 28])),
    )?)
}

impl NetworkArg {
    fn parse(value: &str) -> Result<Self, String> {
        if let Some(path) = value.strip_prefix('@') {
            return Ok(Self::File(path.into()));
        }
        if let Some(preset) = Preset::named(value) {
            return Ok(Self::Preset(preset));
        }
        let names = Preset::ALL.map(|preset| preset.name).join(", ");
        value.parse().map(Self::Text).map_err(|error| {
            format!("{error}. A network is a preset ({names}), a text such as \"conv2d 8 3, relu, flatten, linear 10\", or @FILE")
        })
    }

    /// The layers, a preset's last with one output a class.
    fn description(&self, classes: usize) -> Result<Description, Failure> {
        match self {
            Self::Preset(preset) => Ok(preset.description(classes)),
            Self::Text(description) => Ok(description.clone()),
            Self::File(path) => {
                let failed = |error: &dyn fmt::Display| {
                    Failure::Failed(format!("{}: {error}", path.display()).into())
                };
                let mut text = String::new();
                std::fs::File::open(path)
                    .and_then(|file| file.take(MAX_TEXT).read_to_string(&mut text))
                    .map_err(|error| failed(&error))?;
                text.parse().map_err(|error| failed(&error))
            }
        }
    }
}

/// The name of the weights inside the program, where a file's is expected.
const BUILTIN: &str = "builtin";

/// The model in a file, or inside the program. `network` stands for the text that a file of bare
/// weights lacks.
fn open_model(path: &Path, network: Option<&Description>) -> Result<Model, ModelError> {
    if path.as_os_str() == BUILTIN {
        Model::builtin()
    } else {
        Model::open(path, network)
    }
}

#[derive(Args)]
struct ModelArgs {
    /// Weights to use: a safetensors file, PyTorch's .pth, or `builtin` [default: the newest run's
    /// under runs/, else builtin]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The weights' network, where their file does not say: a preset, a text or @FILE
    #[arg(long, value_parser = NetworkArg::parse)]
    network: Option<NetworkArg>,
}

impl ModelArgs {
    /// Opens the model, and says on stderr which one it is.
    fn open(&self) -> Result<Model, Failure> {
        let path = match &self.model {
            Some(path) => Some(path.clone()),
            None => run_folder::newest_model(Path::new(run_folder::RUNS)),
        };
        // A preset's layers are compared after reading: its number of classes is in the file.
        let asked = match &self.network {
            Some(NetworkArg::Preset(_)) | None => None,
            Some(other) => Some(other.description(0)?),
        };
        let path = path.unwrap_or_else(|| BUILTIN.into());
        let (file, model) = (
            path.display().to_string(),
            open_model(&path, asked.as_ref())?,
        );
        let description = model.network.description();
        let other = match &self.network {
            Some(NetworkArg::Preset(preset)) => {
                (!preset.matches(description)).then(|| preset.name.to_owned())
            }
            _ => asked
                .filter(|asked| {
                    let input = asked.input.or(description.input);
                    asked.layers != description.layers || input != description.input
                })
                .map(|asked| asked.to_string()),
        };
        if let Some(asked) = other {
            let fault = ModelFault::OtherNetwork {
                file: description.to_string(),
                asked,
            };
            return Err(ModelError { file, fault }.into());
        }
        report::note(format_args!(
            "model: {file}, trained on {}",
            model.trained_on
        ));
        Ok(model)
    }
}
