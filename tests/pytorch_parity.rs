//! Every engine gives what PyTorch gives: logits, loss, gradients, and the parameters after ten
//! steps, by any rule; and learning rates go as PyTorch's do. `scripts/pytorch_fixtures.py` wrote down what PyTorch gives.

mod emulated;

use std::any::type_name;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use emulated::EmulatedGpu;
use longhand::data::{Batch, Dataset, Images, Normalisation};
use longhand::engines::lanes::Convolutions;
use longhand::engines::{Cuda, Engine, EngineError, Im2col, Lanes, Reference};
use longhand::hardware::lanes::Portable;
use longhand::layers::Shape;
use longhand::model::Model;
use longhand::network::{Description, Network};
use longhand::optimisers::{Optimiser, Schedule, Sgd, StepRule, Steps, TrainingState};
use longhand::tensor::{Element, relative_error};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How many steps lie between the fixture's parameters `before` and `after`.
const STEPS: usize = 10;

#[test]
fn every_engine_computes_the_tutorial_network_as_pytorch_does() {
    every_engine("tutorial");
}

#[test]
fn every_engine_computes_odd_kernels_strides_and_paddings_as_pytorch_does() {
    every_engine("odd");
}

#[test]
fn a_state_dict_that_pytorch_saved_is_read_to_the_bit() {
    for name in ["tutorial", "odd"] {
        let f = &Fixture::<SgdSettings>::read(name);
        let path = fixtures().join(format!("{name}.pth"));
        // The tutorial's network is known by its tensors.
        let asked = (name != "tutorial").then(|| f.network().description().clone());
        let model = Model::open(&path, asked.as_ref()).unwrap();
        assert_eq!(model.network, f.network());
        let before: Vec<f64> = f.before(&f.network());
        let read: Vec<f64> = model.parameters.iter().map(|&p| f64::from(p)).collect();
        assert!(read == before, "{name}");
        // A file of PyTorch's does not say by what its images were normalised.
        let assumed = match name {
            "tutorial" => Normalisation::mnist(),
            _ => Normalisation::none(f.network().input()[0]),
        };
        assert_eq!(model.normalisation, assumed);
    }
}

#[test]
fn every_rule_steps_as_pytorch_does() {
    let f = &Fixture::<Rules>::read("optimisers");
    assert_eq!(f.about.settings.rules.len(), 9);
    f.steps(Reference::<f64>::new(f.network(), f.normalisation()), 1e-9);
    f.steps(Reference::<f32>::new(f.network(), f.normalisation()), 1e-4);
    f.steps(Im2col::new(f.network(), f.normalisation(), None), 1e-4);
    f.steps(lanes(f), 1e-4);
    if let Some(gpu) = EmulatedGpu::open() {
        f.steps(Cuda::new(gpu, f.network(), &f.normalisation()), 1e-4);
    }
}

#[test]
fn every_schedule_goes_as_pytorchs_does() {
    #[derive(Deserialize)]
    struct Case {
        schedule: Schedule,
        per_epoch: u64,
        total: u64,
        rates: Vec<f64>,
    }
    let json = fs::read(fixtures().join("schedules.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&json).unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let steps = Steps {
            per_epoch: case.per_epoch,
            total: case.total,
        };
        assert_eq!(case.rates.len() as u64, case.total);
        for (step, rate) in case.rates.iter().enumerate() {
            let found = case.schedule.factor(step as u64, steps);
            // PyTorch goes from step to step, and gathers rounding errors on its way.
            let error = (found - rate).abs();
            assert!(
                error <= 1e-12,
                "{:?}, step {step}: {found}, {rate}",
                case.schedule
            );
        }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The engines, each with the largest relative error that a tensor of its may have.
fn every_engine(fixture: &str) {
    let f = &Fixture::<SgdSettings>::read(fixture);
    f.holds(Reference::<f64>::new(f.network(), f.normalisation()), 1e-9);
    f.holds(Reference::<f32>::new(f.network(), f.normalisation()), 1e-4);
    f.holds(Im2col::new(f.network(), f.normalisation(), None), 1e-4);
    f.holds(lanes(f), 1e-4);
    if let Some(gpu) = EmulatedGpu::open() {
        f.holds(Cuda::new(gpu, f.network(), &f.normalisation()), 1e-4);
    }
}

/// The engine by the plainest of its paths; tests/engines.rs holds the others to it.
fn lanes<S: DeserializeOwned>(f: &Fixture<S>) -> Result<Lanes<Portable>, EngineError> {
    let (network, normalisation) = (f.network(), f.normalisation());
    Lanes::new(
        Portable,
        network,
        normalisation,
        None,
        Convolutions::Fastest,
    )
}

/// What PyTorch computed for one network and one batch.
struct Fixture<S> {
    name: String,
    bytes: Vec<u8>,
    about: About<S>,
}

/// The JSON in its metadata.
#[derive(Deserialize)]
struct About<S> {
    network: String,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    #[serde(flatten)]
    settings: S,
}

/// How ten steps were made.
#[derive(Deserialize)]
struct SgdSettings {
    lr: f64,
    momentum: f64,
    weight_decay: f64,
    nesterov: bool,
}

/// Several ways of making ten steps, by name.
#[derive(Deserialize)]
struct Rules {
    rules: BTreeMap<String, Rule>,
}

#[derive(Deserialize)]
struct Rule {
    optimiser: Optimiser,
    schedule: Schedule,
    clip_norm: Option<f64>,
    label_smoothing: f64,
    average: Option<f64>,
}

impl<S: DeserializeOwned> Fixture<S> {
    fn read(name: &str) -> Self {
        let bytes = fs::read(fixtures().join(format!("{name}.safetensors"))).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let json = &header.metadata().as_ref().unwrap()["fixture"];
        Self {
            name: name.to_owned(),
            about: serde_json::from_str(json).unwrap(),
            bytes,
        }
    }

    fn network(&self) -> Network {
        let description: Description = self.about.network.parse().unwrap();
        Network::new(&description, None).unwrap()
    }

    fn normalisation(&self) -> Normalisation {
        Normalisation::new(self.about.mean.clone(), self.about.deviation.clone()).unwrap()
    }

    fn dataset(&self) -> Dataset {
        let network = self.network();
        let Shape::Features(classes) = network.output() else {
            panic!("the network ends in a vector");
        };
        let images = Images::new(network.input(), self.u8s("images")).unwrap();
        Dataset::new(images, self.u8s("labels"), classes).unwrap()
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    fn u8s(&self, name: &str) -> Vec<u8> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::U8, "{name}");
        tensor.data().to_vec()
    }

    fn f64s(&self, name: &str) -> Vec<f64> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::F64, "{name}");
        let (values, _) = tensor.data().as_chunks::<8>();
        values.iter().map(|&v| f64::from_le_bytes(v)).collect()
    }

    /// The fixture's parameters before training, as the flat vector of an engine.
    fn before<T: Element>(&self, network: &Network) -> Vec<T> {
        let mut flat = vec![T::zero(); network.parameter_count()];
        for parameter in network.parameters() {
            let name = format!("before.{}", parameter.name);
            let tensors = self.tensors();
            assert_eq!(tensors.tensor(&name).unwrap().shape(), parameter.shape);
            for (to, from) in flat[parameter.range.clone()]
                .iter_mut()
                .zip(self.f64s(&name))
            {
                *to = T::from_f64(from);
            }
        }
        flat
    }

    /// The engine with the fixture's parameters before training, and its batch.
    fn begin<T: Element, E: Engine<T>>(
        &self,
        engine: Result<E, EngineError>,
    ) -> (E, Dataset, Vec<u32>) {
        let mut engine = engine.unwrap();
        let before = TrainingState::from_parameters(self.before(engine.network()));
        engine.load(&before).unwrap();
        let dataset = self.dataset();
        let batch = (0..dataset.len() as u32).collect();
        (engine, dataset, batch)
    }

    /// Whether `found` is PyTorch's `tensor` to within `tolerance`, or what to say if not.
    fn compare<T: Element>(&self, tensor: &str, found: &[T], tolerance: f64) -> Option<String> {
        let error = relative_error(found, &self.f64s(tensor));
        let wrong = error.is_nan() || error > tolerance;
        wrong.then(|| format!("{tensor}: error {error:.1e}"))
    }

    /// The same for each parameter of a flat vector, under names that begin with `prefix`.
    fn compare_all<T: Element>(
        &self,
        prefix: &str,
        network: &Network,
        flat: &[T],
        tolerance: f64,
    ) -> Vec<String> {
        let parameters = network.parameters().iter();
        let wrong = parameters.filter_map(|parameter| {
            let name = format!("{prefix}.{}", parameter.name);
            self.compare(&name, &flat[parameter.range.clone()], tolerance)
        });
        wrong.collect()
    }

    fn fail_if<T>(&self, engine: &str, wrong: &[String], tolerance: f64) {
        assert!(
            wrong.is_empty(),
            "{}, {engine} in {}: more than {tolerance:e} from PyTorch's:\n{}",
            self.name,
            type_name::<T>(),
            wrong.join("\n"),
        );
    }
}

impl Fixture<SgdSettings> {
    /// Fails unless every tensor that the engine computes is PyTorch's to within `tolerance`.
    fn holds<T: Element, E: Engine<T>>(&self, engine: Result<E, EngineError>, tolerance: f64) {
        let (mut engine, dataset, batch) = self.begin(engine);
        let network = engine.network().clone();
        let rule = StepRule {
            batch_size: batch.len(),
            optimiser: Optimiser::Sgd(Sgd {
                lr: self.about.settings.lr,
                momentum: self.about.settings.momentum,
                weight_decay: self.about.settings.weight_decay,
                nesterov: self.about.settings.nesterov,
            }),
            ..StepRule::default()
        };

        let logits = engine.predict(dataset.images()).unwrap();
        let logits = logits.as_slice().unwrap();
        let (metrics, gradients) = engine
            .gradients(&Batch::new(&dataset, &batch), &rule)
            .unwrap();
        let loss = [T::from_f64(metrics.loss())];
        engine
            .train_epoch(&dataset, &batch.repeat(STEPS), &rule, &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
        let after = engine.state().unwrap().parameters;

        let mut wrong = Vec::new();
        wrong.extend(self.compare("logits", logits, tolerance));
        wrong.extend(self.compare("loss", &loss, tolerance));
        wrong.extend(self.compare_all("gradient", &network, &gradients, tolerance));
        wrong.extend(self.compare_all("after", &network, &after, tolerance));
        self.fail_if::<T>(engine.name(), &wrong, tolerance);
    }
}

impl Fixture<Rules> {
    /// Fails unless ten steps by every rule bring the engine to where they bring PyTorch.
    fn steps<T: Element, E: Engine<T>>(&self, engine: Result<E, EngineError>, tolerance: f64) {
        let (mut engine, dataset, batch) = self.begin(engine);
        let network = engine.network().clone();
        let before = engine.state().unwrap();
        let mut wrong = Vec::new();
        for (name, settings) in &self.about.settings.rules {
            let rule = StepRule {
                batch_size: batch.len(),
                optimiser: settings.optimiser,
                schedule: settings.schedule,
                steps: Steps {
                    per_epoch: 1,
                    total: STEPS as u64,
                },
                clip_norm: settings.clip_norm,
                label_smoothing: settings.label_smoothing,
                average: settings.average,
                seed: 0,
            };
            rule.check().unwrap();
            engine.load(&before).unwrap();
            let batch_alone = Batch::new(&dataset, &batch);
            let (metrics, _) = engine.gradients(&batch_alone, &rule).unwrap();
            let loss = [T::from_f64(metrics.loss())];
            wrong.extend(self.compare(&format!("{name}.loss"), &loss, tolerance));
            engine
                .train_epoch(&dataset, &batch.repeat(STEPS), &rule, &mut |_| {
                    ControlFlow::Continue(())
                })
                .unwrap();
            let state = engine.state().unwrap();
            let after = format!("{name}.after");
            wrong.extend(self.compare_all(&after, &network, &state.parameters, tolerance));
            if settings.average.is_some() {
                let average = format!("{name}.average");
                let weights = rule.weights(&state);
                wrong.extend(self.compare_all(&average, &network, weights, tolerance));
            }
        }
        self.fail_if::<T>(engine.name(), &wrong, tolerance);
    }
}
