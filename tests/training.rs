//! Training for real, on the MNIST that is inside the program, and what a run leaves.
#![cfg(feature = "mnist")]

use std::ops::ControlFlow;

use longhand::data::mnist;
use longhand::engines::{self, EngineKind};
use longhand::model::Model;
use longhand::network::{Network, Preset};
use longhand::training::{Event, Options, TrainingError, train};

fn tutorial() -> Network {
    let [tutorial, ..] = Preset::ALL;
    Network::new(&tutorial.description(10), Some([1, 28, 28])).unwrap()
}

#[test]
fn an_epoch_on_mnist_recognises_96_of_100_test_images() {
    let data = mnist().unwrap();
    let network = tutorial();
    let normalisation = data.normalisation.clone();
    let mut engine = engines::open(EngineKind::Auto, network, normalisation, None).unwrap();
    let options = Options {
        epochs: 1,
        ..Options::default()
    };
    let mut epochs = 0;
    let history = train(engine.as_mut(), &data, &options, &mut |event| {
        epochs += u32::from(matches!(event, Event::Epoch { .. }));
        ControlFlow::Continue(())
    })
    .unwrap();
    let [record] = history[..] else {
        panic!("one epoch, not {}", history.len());
    };
    assert_eq!((record.epoch, epochs), (1, 1));
    assert_eq!(
        (record.train.examples, record.test.examples),
        (60_000, 10_000)
    );
    assert!(record.test.accuracy() >= 0.96, "{}", record.test.accuracy());
    // The running total begins with a network that knows nothing.
    assert!(record.train.accuracy() < record.test.accuracy());
}

#[test]
fn the_weights_inside_the_program_know_mnist() {
    let data = mnist().unwrap();
    let model = Model::builtin().unwrap();
    assert_eq!(model.network, tutorial());
    assert_eq!(model.normalisation, data.normalisation);
    let mut engine =
        engines::open(EngineKind::Auto, model.network, model.normalisation, None).unwrap();
    let state = engines::TrainingState::from_parameters(model.parameters);
    engine.load(&state).unwrap();
    let accuracy = engine.evaluate(&data.test).unwrap().accuracy();
    assert!(accuracy >= 0.98, "{accuracy}");
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let mut data = mnist().unwrap();
    data.train = data.train.slice(0..100).unwrap();
    data.test = data.test.slice(0..100).unwrap();
    let train_with = |change: fn(&mut Options)| {
        let mut options = Options::default();
        change(&mut options);
        let normalisation = data.normalisation.clone();
        let mut engine = engines::open(EngineKind::Auto, tutorial(), normalisation, None).unwrap();
        train(engine.as_mut(), &data, &options, &mut |_| {
            ControlFlow::Continue(())
        })
    };
    assert_eq!(train_with(|_| {}).unwrap().len(), 5);
    assert_eq!(
        train_with(|options| options.rule.batch_size = 0),
        Err(TrainingError::BatchSize)
    );
    for change in [
        (|options| options.rule.optimiser.lr = -1.0) as fn(&mut Options),
        |options| options.rule.optimiser.momentum = f64::NAN,
        |options| options.rule.optimiser.weight_decay = f64::INFINITY,
        |options| {
            options.rule.optimiser.momentum = 0.0;
            options.rule.optimiser.nesterov = true;
        },
    ] {
        let result = train_with(change);
        assert!(
            matches!(result, Err(TrainingError::Optimiser(_))),
            "{result:?}"
        );
    }
}

#[test]
fn a_model_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = Model::builtin().unwrap();
    model.save(&path).unwrap();
    let first = std::fs::read(&path).unwrap();
    assert_eq!(Model::open(&path, None).unwrap(), model);
    model.save(&path).unwrap();
    assert_eq!(
        std::fs::read(&path).unwrap(),
        first,
        "the same model is the same file"
    );
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file is left");
}

#[test]
fn weights_that_the_last_step_has_spoilt_are_an_error_and_no_checkpoint() {
    let mut data = mnist().unwrap();
    data.train = data.train.slice(0..32).unwrap();
    data.test = data.test.slice(0..100).unwrap();
    let mut options = Options::default();
    // One step an epoch, whose loss is that of the first weights, and fine.
    options.rule.optimiser.lr = 1e38;
    let normalisation = data.normalisation.clone();
    let mut engine = engines::open(EngineKind::Auto, tutorial(), normalisation, None).unwrap();
    let mut checkpoints = 0;
    let result = train(engine.as_mut(), &data, &options, &mut |event| {
        checkpoints += u32::from(matches!(event, Event::Epoch { .. }));
        ControlFlow::Continue(())
    });
    assert!(
        matches!(result, Err(TrainingError::Epoch { epoch: 1, .. })),
        "{result:?}"
    );
    assert_eq!(checkpoints, 0);
}
