//! Training for real, on the MNIST that is inside the program, and what a run leaves.
#![cfg(feature = "mnist")]

use std::ops::ControlFlow;

use longhand::data::{Batch, Data, Dataset, Images, mnist, shuffled};
use longhand::engines::{self, Backward, Engine, EngineError, EngineKind, Metrics, Watch};
use longhand::model::Model;
use longhand::network::{Network, Preset};
use longhand::optimisers::{Adam, Anneal, Optimiser, Schedule, Sgd, StepRule, TrainingState};
use longhand::tensor::Tensor;
use longhand::training::{EpochRecord, Event, Recipe, Start, TrainingError, train};
use ndarray::Array2;

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
    let recipe = Recipe {
        epochs: 1,
        ..Recipe::default()
    };
    let mut epochs = 0;
    let history = train(
        engine.as_mut(),
        &data,
        &recipe,
        Start::Drawn,
        &mut |event| {
            epochs += u32::from(matches!(event, Event::Epoch { .. }));
            ControlFlow::Continue(())
        },
    )
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
    let state = TrainingState::from_parameters(model.parameters);
    engine.load(&state).unwrap();
    let accuracy = engine.evaluate(&data.test).unwrap().accuracy();
    assert!(accuracy >= 0.98, "{accuracy}");
}

/// Hundred images to learn from, hundred to test on.
fn hundred() -> Data {
    let mut data = mnist().unwrap();
    data.train = data.train.slice(0..100).unwrap();
    data.test = data.test.slice(0..100).unwrap();
    data
}

fn train_on(data: &Data, recipe: &Recipe) -> Result<Vec<EpochRecord>, TrainingError> {
    let normalisation = data.normalisation.clone();
    let mut engine = engines::open(EngineKind::Auto, tutorial(), normalisation, None).unwrap();
    train(engine.as_mut(), data, recipe, Start::Drawn, &mut |_| {
        ControlFlow::Continue(())
    })
}

/// An engine that notes what it is asked for.
struct Noting {
    engine: Box<dyn Engine>,
    loaded: Vec<TrainingState>,
    epochs: Vec<(Vec<u32>, StepRule)>,
}

impl Engine for Noting {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn network(&self) -> &Network {
        self.engine.network()
    }

    fn threads(&self) -> usize {
        self.engine.threads()
    }

    fn load(&mut self, state: &TrainingState) -> Result<(), EngineError> {
        self.loaded.push(state.clone());
        self.engine.load(state)
    }

    fn state(&self) -> Result<TrainingState, EngineError> {
        self.engine.state()
    }

    fn steps(&self) -> u64 {
        self.engine.steps()
    }

    fn backward(&mut self, x: &Tensor, d_y: &Tensor) -> Result<Backward, EngineError> {
        self.engine.backward(x, d_y)
    }

    fn gradients(
        &mut self,
        batch: &Batch,
        rule: &StepRule,
    ) -> Result<(Metrics, Vec<f32>), EngineError> {
        self.engine.gradients(batch, rule)
    }

    fn train_batch(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError> {
        self.engine.train_batch(batch, rule)
    }

    fn predict(&mut self, images: &Images) -> Result<Array2<f32>, EngineError> {
        self.engine.predict(images)
    }

    fn train_epoch(
        &mut self,
        data: &Dataset,
        order: &[u32],
        rule: &StepRule,
        watch: &mut Watch,
    ) -> Result<Metrics, EngineError> {
        self.epochs.push((order.to_vec(), *rule));
        self.engine.train_epoch(data, order, rule, watch)
    }
}

#[test]
fn weights_orders_and_drops_are_drawn_from_the_seed_anew_for_each_epoch() {
    let data = hundred();
    let engine = engines::open(
        EngineKind::Cpu,
        tutorial(),
        data.normalisation.clone(),
        None,
    );
    let mut noting = Noting {
        engine: engine.unwrap(),
        loaded: Vec::new(),
        epochs: Vec::new(),
    };
    let recipe = Recipe {
        epochs: 3,
        seed: 7,
        validation: 10,
        ..Recipe::default()
    };
    let watch = &mut |_: Event| ControlFlow::Continue(());
    train(&mut noting, &data, &recipe, Start::Drawn, watch).unwrap();
    assert!(noting.loaded[0] == TrainingState::initial(&tutorial(), 7));
    assert_eq!(noting.epochs.len(), 3);
    for ((order, rule), epoch) in noting.epochs.iter().zip(1..) {
        assert_eq!(*order, shuffled(90, 7, epoch));
        assert_eq!((rule.seed, rule.steps.per_epoch), (7, 3));
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let data = hundred();
    let train_with = |change: fn(&mut Recipe)| {
        let mut recipe = Recipe::default();
        change(&mut recipe);
        train_on(&data, &recipe)
    };
    assert_eq!(train_with(|_| {}).unwrap().len(), 5);
    let sgd = |recipe: &mut Recipe, lr, momentum, weight_decay, nesterov| {
        recipe.optimiser = Optimiser::Sgd(Sgd {
            lr,
            momentum,
            weight_decay,
            nesterov,
        });
    };
    let adam = |recipe: &mut Recipe, beta1, beta2, eps| {
        recipe.optimiser = Optimiser::Adam(Adam {
            beta1,
            beta2,
            eps,
            ..Adam::default()
        });
    };
    let changes: [&dyn Fn(&mut Recipe); 14] = [
        &|recipe| recipe.batch_size = 0,
        &|recipe| sgd(recipe, -1.0, 0.5, 0.0, false),
        &|recipe| sgd(recipe, 0.1, f64::NAN, 0.0, false),
        &|recipe| sgd(recipe, 0.1, 0.5, f64::INFINITY, false),
        &|recipe| sgd(recipe, 0.1, 0.0, 0.0, true),
        &|recipe| adam(recipe, 1.0, 0.9, 1e-8),
        &|recipe| adam(recipe, 0.9, -0.1, 1e-8),
        &|recipe| adam(recipe, 0.9, 0.9, f64::NAN),
        &|recipe| {
            recipe.schedule = Schedule::Step {
                every: 0,
                gamma: 0.1,
            }
        },
        &|recipe| {
            recipe.schedule = Schedule::Step {
                every: 1,
                gamma: f64::NAN,
            }
        },
        &|recipe| {
            recipe.schedule = Schedule::OneCycle {
                warm_up: 1.0,
                anneal: Anneal::Linear,
            }
        },
        &|recipe| recipe.clip_norm = Some(0.0),
        &|recipe| recipe.average = Some(1.0),
        &|recipe| recipe.label_smoothing = f64::NAN,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut recipe = Recipe::default();
        change(&mut recipe);
        let result = train_on(&data, &recipe);
        assert!(
            matches!(result, Err(TrainingError::Optimiser(_))),
            "change {index}: {result:?}"
        );
    }
    for held_out in [100, 101, usize::MAX] {
        let recipe = Recipe {
            validation: held_out,
            ..Recipe::default()
        };
        let images = 100;
        assert_eq!(
            train_on(&data, &recipe),
            Err(TrainingError::Validation { held_out, images })
        );
    }
    assert_eq!(
        train_with(|recipe| recipe.patience = Some(1)),
        Err(TrainingError::Patience)
    );
}

#[test]
fn a_validation_part_is_the_last_of_the_images_and_learned_from_by_none() {
    let data = hundred();
    let recipe = Recipe {
        epochs: 2,
        validation: 30,
        ..Recipe::default()
    };
    let held_out = train_on(&data, &recipe).unwrap();
    // The same as a training set without them, measured on them.
    let mut alone = data.clone();
    alone.train = data.train.slice(0..70).unwrap();
    alone.test = data.train.slice(70..100).unwrap();
    let recipe = Recipe {
        validation: 0,
        ..recipe
    };
    let expected = train_on(&alone, &recipe).unwrap();
    for (found, expected) in held_out.iter().zip(&expected) {
        assert_eq!(found.train, expected.train);
        assert_eq!(found.validation, Some(expected.test));
        assert_eq!(expected.validation, None);
    }
}

#[test]
fn the_best_epoch_is_the_best_by_its_validation_and_patience_ends_training() {
    let data = hundred();
    // So small a rate that nothing ever gets right: the loss alone decides, and falls.
    let slow = Recipe {
        epochs: 6,
        validation: 30,
        patience: Some(2),
        optimiser: Optimiser::Sgd(Sgd {
            lr: 1e-5,
            ..Sgd::default()
        }),
        ..Recipe::default()
    };
    assert_eq!(train_on(&data, &slow).unwrap().len(), 6);
    // No step at all: the first epoch stays the best.
    let still = Recipe {
        optimiser: Optimiser::Sgd(Sgd {
            lr: 0.0,
            ..Sgd::default()
        }),
        ..slow
    };
    let normalisation = data.normalisation.clone();
    let mut engine = engines::open(EngineKind::Auto, tutorial(), normalisation, None).unwrap();
    let mut best_epochs = Vec::new();
    let history = train(engine.as_mut(), &data, &still, Start::Drawn, &mut |event| {
        if let Event::Epoch { record, best, .. } = event {
            best_epochs.push((record.epoch, best));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(best_epochs, [(1, true), (2, false), (3, false)]);
    assert_eq!(history.unwrap().len(), 3);
}

#[test]
fn what_is_tested_and_handed_out_is_the_average_if_there_is_one() {
    let data = hundred();
    let recipe = Recipe {
        epochs: 2,
        average: Some(0.9),
        ..Recipe::default()
    };
    let normalisation = data.normalisation.clone();
    let mut engine = engines::open(EngineKind::Auto, tutorial(), normalisation, None).unwrap();
    let mut judged = Vec::new();
    train(
        engine.as_mut(),
        &data,
        &recipe,
        Start::Drawn,
        &mut |event| {
            if let Event::Epoch {
                record,
                state,
                weights,
                ..
            } = event
            {
                assert_eq!(weights, state.average);
                assert_ne!(weights, state.parameters);
                judged.push((record.test, weights.to_vec()));
            }
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    for (test, weights) in &judged {
        let mut engine = engines::open(
            EngineKind::Auto,
            tutorial(),
            data.normalisation.clone(),
            None,
        )
        .unwrap();
        let state = TrainingState::from_parameters(weights.clone());
        engine.load(&state).unwrap();
        assert_eq!(engine.evaluate(&data.test).unwrap(), *test);
    }
    // The average changes nothing of how the parameters go.
    let plain = Recipe {
        average: None,
        ..recipe
    };
    let plain = train_on(&data, &plain).unwrap();
    let averaged = train_on(&data, &recipe).unwrap();
    assert_eq!(plain[1].train, averaged[1].train);
    assert_ne!(plain[1].test, averaged[1].test);
}

#[test]
fn training_begins_with_the_weights_that_it_is_given() {
    let data = hundred();
    let model = Model::builtin().unwrap();
    let normalisation = data.normalisation.clone();
    let mut engine = engines::open(EngineKind::Auto, tutorial(), normalisation, None).unwrap();
    let recipe = Recipe {
        epochs: 1,
        ..Recipe::default()
    };
    let initial = Start::Weights(model.parameters);
    let history = train(engine.as_mut(), &data, &recipe, initial, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(history[0].train.accuracy() > 0.9, "{history:?}");
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
    // One step an epoch, whose loss is that of the first weights, and fine.
    let recipe = Recipe {
        optimiser: Optimiser::Sgd(Sgd {
            lr: 1e38,
            ..Sgd::default()
        }),
        ..Recipe::default()
    };
    let normalisation = data.normalisation.clone();
    let mut engine = engines::open(EngineKind::Auto, tutorial(), normalisation, None).unwrap();
    let mut checkpoints = 0;
    let result = train(
        engine.as_mut(),
        &data,
        &recipe,
        Start::Drawn,
        &mut |event| {
            checkpoints += u32::from(matches!(event, Event::Epoch { .. }));
            ControlFlow::Continue(())
        },
    );
    assert!(
        matches!(result, Err(TrainingError::Epoch { epoch: 1, .. })),
        "{result:?}"
    );
    assert_eq!(checkpoints, 0);
}

#[test]
fn moments_that_are_not_finite_are_an_error_and_no_checkpoint() {
    let data = hundred();
    let description = tutorial().description().clone();
    let network = Network::new(&description, None).unwrap();
    let engine = engines::open(
        EngineKind::Im2col,
        network.clone(),
        data.normalisation.clone(),
        None,
    );
    let recipe = Recipe {
        epochs: 1,
        optimiser: Optimiser::Adam(Adam::default()),
        ..Recipe::default()
    };
    // With it the parameters stand still, and nothing else is wrong.
    let mut state = TrainingState::initial(&network, 1);
    state.second_moment.fill(f32::INFINITY);
    let history = Vec::new();
    let start = Start::After { history, state };
    let watch = &mut |event: Event| {
        assert!(!matches!(event, Event::Epoch { .. }));
        ControlFlow::Continue(())
    };
    let error = train(engine.unwrap().as_mut(), &data, &recipe, start, watch).unwrap_err();
    assert!(error.diverged(), "{error}");
}
