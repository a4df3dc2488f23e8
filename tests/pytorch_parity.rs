//! Every engine gives what PyTorch gives: logits, loss, gradients, and the parameters after ten
//! steps of SGD. `scripts/pytorch_fixtures.py` wrote down what PyTorch gives.

use std::any::type_name;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use longhand::data::{Batch, Dataset, Images, Normalisation};
use longhand::engines::{Engine, EngineError, Im2col, Reference, TrainingState};
use longhand::layers::Shape;
use longhand::network::{Description, Network};
use longhand::optimisers::{Sgd, StepRule};
use longhand::tensor::{Element, relative_error};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

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

/// The engines, each with the largest relative error that a tensor of its may have.
fn every_engine(fixture: &str) {
    let f = &Fixture::read(fixture);
    f.holds(Reference::<f64>::new(f.network(), f.normalisation()), 1e-9);
    f.holds(Reference::<f32>::new(f.network(), f.normalisation()), 1e-4);
    f.holds(Im2col::new(f.network(), f.normalisation(), None), 1e-4);
}

/// What PyTorch computed for one network and one batch.
struct Fixture {
    name: String,
    bytes: Vec<u8>,
    about: About,
}

/// The JSON in its metadata.
#[derive(Deserialize)]
struct About {
    network: String,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    lr: f64,
    momentum: f64,
    weight_decay: f64,
    nesterov: bool,
}

impl Fixture {
    fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let bytes = fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
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

    /// Fails unless every tensor that the engine computes is PyTorch's to within `tolerance`.
    fn holds<T: Element, E: Engine<T>>(&self, engine: Result<E, EngineError>, tolerance: f64) {
        let mut engine = engine.unwrap();
        let network = engine.network().clone();
        let dataset = self.dataset();
        let batch: Vec<u32> = (0..dataset.len() as u32).collect();
        let mut wrong = Vec::new();
        let mut compare = |tensor: &str, found: &[T]| {
            let error = relative_error(found, &self.f64s(tensor));
            if error.is_nan() || error > tolerance {
                wrong.push(format!("{tensor}: error {error:.1e}"));
            }
        };

        let before = TrainingState::from_parameters(self.before(&network));
        engine.load(&before).unwrap();
        let logits = engine.predict(dataset.images()).unwrap();
        compare("logits", logits.as_slice().unwrap());
        let (metrics, gradients) = engine.gradients(&Batch::new(&dataset, &batch)).unwrap();
        compare("loss", &[T::from_f64(metrics.loss())]);
        for parameter in network.parameters() {
            let gradient = &gradients[parameter.range.clone()];
            compare(&format!("gradient.{}", parameter.name), gradient);
        }

        let rule = StepRule {
            batch_size: batch.len(),
            optimiser: Sgd {
                lr: self.about.lr,
                momentum: self.about.momentum,
                weight_decay: self.about.weight_decay,
                nesterov: self.about.nesterov,
            },
        };
        let order = batch.repeat(STEPS);
        engine
            .train_epoch(&dataset, &order, &rule, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        let after = engine.state();
        for parameter in network.parameters() {
            let value = &after.parameters[parameter.range.clone()];
            compare(&format!("after.{}", parameter.name), value);
        }

        assert!(
            wrong.is_empty(),
            "{}, {} in {}: more than {tolerance:e} from PyTorch's:\n{}",
            self.name,
            engine.name(),
            type_name::<T>(),
            wrong.join("\n"),
        );
    }
}
