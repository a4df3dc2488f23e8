//! `run.json`: what was run, how it went, and all that it takes to run it again.

use serde::{Deserialize, Serialize};

use super::history::EpochRow;
use super::recipe::Recipe;
use crate::data::SourceFile;

/// The record of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The version of longhand.
    pub longhand: String,
    /// The words of the command line.
    pub command: Vec<String>,
    /// How far it is.
    pub status: Status,
    /// When it began, in UTC.
    pub started: String,
    /// How it went on after it was stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<Resumed>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What computed it, up to where it was resumed.
    pub machine: Machine,
    /// What it learned from.
    pub data: DataRecord,
    /// The network's text.
    pub network: String,
    /// The number of parameters.
    pub parameters: usize,
    /// The weights that it began with, if they were not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitRecord>,
    /// How it was trained.
    pub recipe: Recipe,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Seconds>,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<RunResult>,
}

impl RunRecord {
    /// What computed it, part by part.
    fn machines(&self) -> impl Iterator<Item = &Machine> {
        let resumed = self.resumed.iter().filter_map(|part| part.machine.as_ref());
        std::iter::once(&self.machine).chain(resumed)
    }

    /// What computed its last part.
    pub fn last_machine(&self) -> &Machine {
        self.machines().last().unwrap_or(&self.machine)
    }

    /// The engines that computed it, in their order, each as in `lanes (avx512)`.
    pub fn engines(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .machines()
            .map(|machine| match &machine.instructions {
                Some(instructions) => format!("{} ({instructions})", machine.engine),
                None => machine.engine.clone(),
            })
            .collect();
        names.dedup();
        names
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Under way, or the program was killed.
    Running,
    /// To its end.
    Finished,
    /// Stopped by Ctrl-C or a signal.
    Interrupted,
    /// Stopped by an error.
    Failed,
}

/// That a run which was stopped went on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// When, in UTC.
    pub at: String,
    /// Behind which epoch.
    pub after_epoch: u32,
    /// The words of the command line.
    pub command: Vec<String>,
    /// What computed it from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
}

/// What computed a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What the processor calls itself.
    pub cpu: String,
    /// The engine's name.
    pub engine: String,
    /// The instructions of `lanes`, which change the last bits of a sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// How many threads it had, which changes no weight.
    pub threads: usize,
}

/// What a run learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// What it is called.
    pub name: String,
    /// The folder's full path; none for what is inside the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The beginning of the files' names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Training images, the held-out ones included.
    pub train_images: usize,
    /// Test images.
    pub test_images: usize,
    /// Classes.
    pub classes: usize,
    /// What they are called.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Whether the files are EMNIST's, with images transposed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emnist: bool,
    /// The mean of each channel, by which pixels are normalised.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel.
    pub deviation: Vec<f32>,
    /// The four files with their MD5.
    pub files: Vec<SourceFile>,
}

/// The weights that a run began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitRecord {
    /// Their file's full path, or `builtin`.
    pub model: String,
    /// The SHA-256 of that model's weights.
    pub weights_sha256: String,
    /// The tensors that it could not give, which were drawn.
    pub drawn: Vec<String>,
}

/// How long a run took, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// From the program's start to the end of the first step, if there was one.
    pub start_to_first_step: Option<f64>,
    /// Training alone, over all epochs.
    pub training: f64,
    /// From the program's start to the end of the run; for a run that was resumed, its last part.
    pub total: f64,
}

/// What came out of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The last epoch.
    #[serde(flatten)]
    pub last: EpochRow,
    /// The SHA-256 of the weights in `model.safetensors`.
    pub weights_sha256: String,
    /// The epoch whose weights are in `best.safetensors`, if a validation part judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<EpochRow>,
}
