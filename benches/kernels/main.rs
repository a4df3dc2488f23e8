//! `cargo bench`: how fast every kernel is, beside what this machine could do at most.
//!
//! ```text
//! cargo bench                                       all of it, a few minutes
//! cargo bench -- conv2d                             what matches
//! cargo bench -- --save-baseline before             then change something, then
//! cargo bench -- --baseline before
//! ```
//!
//! Criterion measures and compares. The run ends in a table of what was measured, which also
//! lies in `target/kernels` as `kernels.md`, `kernels.json` and, as rooflines, `kernels.svg`;
//! the next run overwrites it.
//!
//! Inputs are random and take turns, outputs are held against `reference` before they are timed,
//! and nothing is allocated or prepared while the clock runs but what an engine's own call or a reader
//! of files hands out. Rows of the GPU come where there is one.

mod conv2d;
mod gemm;
mod gpu;
mod groups;
mod linear_linear;
mod machine;
mod roofline;
mod small_layers;
mod table;
mod whole_steps;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use longhand::random::{Purpose, Stream};
use longhand::tensor::relative_error;
use serde::Serialize;

use machine::Machine;

/// How many inputs take turns: as many images as an engine takes through a layer together.
pub const SETS: usize = 4;

/// Samples of a measurement, the fewest that criterion takes.
const SAMPLES: usize = 10;

/// The largest relative error of a kernel that is worth timing.
const TOLERANCE: f64 = 1e-5;

/// What is timed, and what is known of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Case {
    /// The kernel.
    pub group: &'static str,
    /// How it is computed.
    pub way: String,
    /// On what.
    pub shape: String,
    /// How many times one call does it, or 0 for once: all figures are those of one.
    pub times: usize,
    /// On how many threads, or 0 for a GPU's.
    pub threads: usize,
    /// Floating-point operations of the definition, 0 where they are not the point.
    pub flops: u64,
    /// Those that are really done, where a way needs fewer.
    pub executed_flops: Option<u64>,
    /// Every tensor read or written, once, 0 where they are not the point.
    pub bytes: u64,
    /// Whether memory is what limits it.
    pub memory_bound: bool,
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What was timed.
    #[serde(flatten)]
    pub case: Case,
    /// The median.
    pub seconds: f64,
}

/// Criterion, and what it measured so far.
pub struct Bench {
    criterion: Criterion,
    /// Where it runs.
    pub machine: Machine,
    rows: Vec<Row>,
}

impl Bench {
    /// Times `run`, which is told its turn, 0 to [`SETS`] - 1, unless the command line leaves the
    /// case out.
    pub fn time(&mut self, case: Case, mut run: impl FnMut(usize)) {
        let (mut turn, mut calls) = (0, Vec::new());
        let id = BenchmarkId::new(&case.way, &case.shape);
        let mut group = self.criterion.benchmark_group(case.group);
        // As many calls in every sample: slow kernels need no more than ten.
        group.sampling_mode(SamplingMode::Flat);
        if case.times > 1 {
            group.throughput(Throughput::Elements(case.times as u64));
        }
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Instant::now();
                for _ in 0..iterations {
                    run(turn);
                    turn = (turn + 1) % SETS;
                }
                let elapsed = start.elapsed();
                calls.push(elapsed.as_secs_f64() / iterations as f64);
                elapsed
            });
        });
        group.finish();
        // The first calls warm up; the last ones are samples, however many were asked for.
        let warm_ups = calls.len().saturating_sub(SAMPLES);
        let samples = &mut calls[warm_ups..];
        if samples.is_empty() {
            return;
        }
        samples.sort_by(f64::total_cmp);
        let middle = samples.len() / 2;
        let median = if samples.len().is_multiple_of(2) {
            (samples[middle - 1] + samples[middle]) / 2.0
        } else {
            samples[middle]
        };
        let seconds = median / case.times.max(1) as f64;
        self.rows.push(Row { case, seconds });
    }

    /// Brings the ways of one kernel and shape together, in the order in which they came.
    fn sort_rows(&mut self) {
        let mut order: Vec<(&str, String)> = Vec::new();
        let mut places: Vec<usize> = Vec::new();
        for Row { case, .. } in &self.rows {
            let key = (case.group, case.shape.clone());
            let place = order.iter().position(|other| *other == key);
            places.push(place.unwrap_or(order.len()));
            if place.is_none() {
                order.push(key);
            }
        }
        let rows = std::mem::take(&mut self.rows);
        let mut rows: Vec<_> = places.into_iter().zip(rows).collect();
        rows.sort_by_key(|&(place, _)| place);
        self.rows = rows.into_iter().map(|(_, row)| row).collect();
    }
}

/// `count` random numbers from -1 to 1, others for every `part`.
pub fn random(part: u32, count: usize) -> Vec<f32> {
    let draws = Stream::new(0, Purpose::Check, part);
    let draw = |index| (2.0 * draws.uniform(index) - 1.0) as f32;
    (0..count as u64).map(draw).collect()
}

/// The same for every turn.
pub fn random_sets(part: u32, count: usize) -> Vec<Vec<f32>> {
    let part = part * SETS as u32;
    (part..part + SETS as u32)
        .map(|part| random(part, count))
        .collect()
}

/// Stops everything if `found` is not `expected`: a wrong result has no speed.
pub fn check(what: &str, found: &[f32], expected: &[f64]) {
    let error = relative_error(found, expected);
    // NaN is not at most anything.
    assert!(error <= TOLERANCE, "{what}: a relative error of {error:e}");
}

fn main() {
    let criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .sample_size(SAMPLES)
        .nresamples(10_000)
        .configure_from_args();
    // `cargo test --benches` and `cargo bench -- --test` run everything once, which measures nothing.
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    let measures = asked("--bench") && !asked("--test");
    let mut bench = Bench {
        criterion,
        machine: Machine::measure(),
        rows: Vec::new(),
    };
    conv2d::bench(&mut bench);
    gemm::bench(&mut bench);
    small_layers::bench(&mut bench);
    linear_linear::bench(&mut bench);
    whole_steps::bench(&mut bench);
    gpu::bench(&mut bench);
    bench.criterion.final_summary();
    if measures && !bench.rows.is_empty() {
        bench.machine.measure_again();
        bench.sort_rows();
        report(&bench.machine, &bench.rows);
    }
}

/// The table on the screen, and everything in files.
fn report(machine: &Machine, rows: &[Row]) {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let folder = target.join("kernels");
    let markdown = table::markdown(machine, rows);
    println!("\n{markdown}");
    let files = [
        ("kernels.md", markdown),
        ("kernels.json", table::json(machine, rows)),
        ("kernels.svg", roofline::svg(machine, rows)),
    ];
    let write = || {
        std::fs::create_dir_all(&folder)?;
        files
            .iter()
            .try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
    };
    match write() {
        Ok(()) => println!("Also in {}", folder.display()),
        Err(error) => eprintln!("{}: {error}", folder.display()),
    }
}
