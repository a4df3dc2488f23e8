//! What users wait for: training steps and predictions of every engine, and reading MNIST. And
//! what threads cost before they do anything.

use std::hint::black_box;
use std::ops::ControlFlow;

use longhand::data::{self, Batch, Data, Idx, Images};
use longhand::engines::lanes::plan::{self, Convolutions, Kind, Way};
use longhand::engines::{self, Engine, EngineKind};
use longhand::hardware::workers::Workers;
use longhand::network::{Network, Operation, Preset};
use longhand::optimisers::{StepRule, TrainingState};
use rayon::prelude::*;

use crate::machine::pool;
use crate::{Bench, Case, SETS, check, groups};

pub fn bench(bench: &mut Bench) {
    let data = data::mnist().expect("MNIST is compiled in");
    let description = Preset::ALL[0].description(data.train.classes());
    let network = Network::new(&description, Some(data.train.images().shape()));
    let network = network.expect("the preset fits MNIST");
    // Two names are those of another engine; a GPU's steps are timed by the epoch, in `gpu`.
    let kinds = [EngineKind::Reference, EngineKind::Im2col, EngineKind::Lanes];
    for kind in kinds {
        if kind != EngineKind::Reference {
            check_engine(kind, &network, &data);
        }
        train_step(bench, kind, &network, &data);
        predict(bench, kind, &network, &data);
    }
    idx(bench);
    threads(bench);
}

/// The engine, with the parameters that training begins with.
fn open(kind: EngineKind, network: &Network, data: &Data) -> Box<dyn Engine> {
    let engine = engines::open(kind, network.clone(), data.normalisation.clone(), None);
    let mut engine = engine.expect("the engine starts");
    let state = TrainingState::initial(network, 1);
    engine.load(&state).expect("the state is the network's");
    engine
}

/// Holds gradients and logits of some images against those of the reference.
fn check_engine(kind: EngineKind, network: &Network, data: &Data) {
    let indices: Vec<u32> = (0..33).collect();
    let batch = Batch::new(&data.train, &indices);
    let images = data.test.slice(0..33).expect("MNIST has more");
    let results = [EngineKind::Reference, kind].map(|kind| {
        let mut engine = open(kind, network, data);
        let gradients = engine.gradients(&batch, &StepRule::default());
        let logits = engine.predict(images.images());
        let (_, gradients) = gradients.expect("the batch suits the network");
        let logits = logits.expect("the images suit the network");
        [gradients, logits.into_iter().collect()]
    });
    for (what, (expected, found)) in ["gradients", "logits"]
        .into_iter()
        .zip(results[0].iter().zip(&results[1]))
    {
        let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
        check(&format!("{what} of {kind}"), found, &expected);
    }
}

/// What `lanes` does otherwise than by the formulas.
#[derive(Default)]
struct Saved {
    /// The operations for an image that the forward pass does without.
    forward: u64,
    /// The same of the backward pass.
    backward: u64,
    /// Those of a product of the weights of two layers, which makes it possible.
    merging: u64,
}

fn saved(kind: EngineKind, network: &Network) -> Option<Saved> {
    if kind != EngineKind::Lanes {
        return None;
    }
    let mut saved = Saved::default();
    for stage in plan::plan(network, groups::path().width(), Convolutions::Fastest) {
        let layers = &network.layers()[stage.layer..][..stage.layers()];
        let d_x_wanted = network.trains_before(stage.layer);
        match (stage.kind, &layers[0].operation) {
            (
                Kind::Conv2d(Way::Winograd(winograd))
                | Kind::Conv2dReluMaxPool2d(Way::Winograd(winograd), _),
                Operation::Conv2d(conv),
            ) => {
                let pooled = matches!(stage.kind, Kind::Conv2dReluMaxPool2d(..));
                saved.forward += conv.flops() - winograd.forward_flops();
                saved.backward += layers[0].backward_flops(d_x_wanted)
                    - winograd.backward_flops(pooled, d_x_wanted);
            }
            (Kind::LinearLinear(pair), _) => {
                let merged = pair.merged().flops();
                let both = layers[0].backward_flops(d_x_wanted) + layers[1].backward_flops(true);
                saved.forward += layers[0].forward_flops() + layers[1].forward_flops() - merged;
                saved.backward += both - if d_x_wanted { 2 } else { 1 } * merged;
                saved.merging += pair.merging_flops();
            }
            _ => {}
        }
    }
    Some(saved)
}

/// The same of the forward pass of one image alone.
fn saved_alone(kind: EngineKind, network: &Network) -> Option<u64> {
    if kind != EngineKind::Lanes {
        return None;
    }
    let stages = plan::plan(network, groups::path().width(), Convolutions::Fastest);
    let saved = stages
        .iter()
        .map(|stage| match (stage.kind, stage.bands(network)) {
            (_, Some(bands)) => bands.conv().flops().saturating_sub(bands.flops()),
            (Kind::LinearLinear(pair), None) => {
                pair.first.flops() + pair.second.flops() - pair.merged().flops()
            }
            _ => 0,
        });
    Some(saved.sum())
}

/// Images of the short epochs that steps are timed in: threads are woken once an epoch.
const EPOCH: usize = 1024;

fn train_step(bench: &mut Bench, kind: EngineKind, network: &Network, data: &Data) {
    for size in [1, 32, 256] {
        let mut engine = open(kind, network, data);
        let order = data::shuffled(data.train.len(), 0, 1);
        let mut epochs = order.chunks_exact(EPOCH).cycle();
        let rule = StepRule {
            batch_size: size,
            ..StepRule::default()
        };
        let case = Case {
            group: "train_step",
            way: kind.name().to_owned(),
            shape: size.to_string(),
            times: EPOCH / size,
            // One image is the work of one thread; where there are many cores, a small batch may not have
            // work for all.
            threads: engine.threads().min(size),
            flops: size as u64 * network.training_flops(),
            executed_flops: saved(kind, network).map(|saved| {
                let image = network.training_flops() - saved.forward - saved.backward;
                // The product, and two gradients that are made of its own.
                size as u64 * image + 3 * saved.merging
            }),
            // Pixels; and parameters and velocity, read and written.
            bytes: (size * data.train.images().pixels() + 16 * network.parameter_count()) as u64,
            ..Case::default()
        };
        bench.time(case, |_| {
            let order = epochs.next().expect("a cycle has no end");
            let go_on = &mut |_: &_| ControlFlow::Continue(());
            let metrics = engine.train_epoch(&data.train, order, &rule, go_on);
            black_box(metrics.expect("the data suit the network"));
        });
    }
}

fn predict(bench: &mut Bench, kind: EngineKind, network: &Network, data: &Data) {
    let mut engine = open(kind, network, data);
    let all = data.test.images();
    let one: Vec<Images> = (0..SETS)
        .map(|n| Images::new(all.shape(), all.image(n).to_vec()).expect("it is a whole image"))
        .collect();
    let many = std::slice::from_ref(all);
    for sets in [&one[..], many] {
        let n = sets[0].len();
        let case = Case {
            group: "predict",
            way: kind.name().to_owned(),
            shape: n.to_string(),
            threads: engine.threads().min(n),
            flops: n as u64 * network.forward_flops(),
            executed_flops: match n {
                1 => saved_alone(kind, network),
                _ => saved(kind, network).map(|saved| saved.forward),
            }
            .map(|saved| n as u64 * (network.forward_flops() - saved)),
            // Pixels, parameters and logits.
            bytes: (n * (all.pixels() + 4 * network.output().elements())
                + 4 * network.parameter_count()) as u64,
            ..Case::default()
        };
        bench.time(case, |turn| {
            let logits = engine.predict(&sets[turn % sets.len()]);
            black_box(logits.expect("the images suit the network"));
        });
    }
}

/// The test images, 7.8 MB, gzipped as they come and plain.
fn idx(bench: &mut Bench) {
    const NAME: &str = "data/mnist/t10k-images-idx3-ubyte.gz";
    let gzipped = include_bytes!("../../data/mnist/t10k-images-idx3-ubyte.gz").to_vec();
    let decoded = Idx::read(NAME, &gzipped[..]).expect("it is an IDX file");
    let mut plain = Vec::new();
    decoded.write(NAME, &mut plain).expect("a vector takes all");
    let again = Idx::read(NAME, &plain[..]).expect("it is an IDX file");
    assert_eq!(again, decoded, "gzipped and plain files hold the same");
    for (way, bytes) in [("gzip", &gzipped), ("plain", &plain)] {
        let case = Case {
            group: "idx",
            way: way.to_owned(),
            shape: "10000x28x28 bytes".to_owned(),
            threads: 1,
            bytes: plain.len() as u64,
            memory_bound: true,
            ..Case::default()
        };
        bench.time(case, |_| {
            black_box(Idx::read(NAME, &bytes[..]).expect("it is an IDX file"));
        });
    }
}

/// What it costs to hand a pool a task of nothing for every thread, and to wait for all; to wake
/// the engine's workers, which is paid once an epoch; and to meet at their barrier, which is paid
/// twice a batch.
fn threads(bench: &mut Bench) {
    let mut counts = vec![1, bench.machine.threads];
    counts.dedup();
    for threads in counts {
        let case = |way: &str| Case {
            group: "threads",
            way: way.to_owned(),
            shape: format!("{threads} thread{}", if threads == 1 { "" } else { "s" }),
            threads,
            ..Case::default()
        };
        let pool = pool(threads);
        let mut tasks = vec![0_u8; threads];
        bench.time(case("rayon_fork_join"), |_| {
            pool.install(|| {
                tasks
                    .par_iter_mut()
                    .with_max_len(1)
                    .for_each(|task| *task = black_box(*task));
            });
        });
        let workers = Workers::new(threads).expect("the machine starts threads");
        bench.time(case("workers_run"), |_| {
            let done = workers.run(threads, |worker| {
                black_box(worker.index);
            });
            done.expect("nobody panics");
        });
        const MEETINGS: usize = 1000;
        let barrier = Case {
            times: MEETINGS,
            ..case("barrier")
        };
        bench.time(barrier, |_| {
            let done = workers.run(threads, |worker| {
                for _ in 0..MEETINGS {
                    worker.wait().expect("nobody panics");
                }
            });
            done.expect("nobody panics");
        });
    }
}
