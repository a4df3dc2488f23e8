//! The layers beside convolution, each on what the tutorial's network gives it.

use std::hint::black_box;

use longhand::hardware::lanes::Lanes;
use longhand::layers::cross_entropy::lanes::Answers;
use longhand::layers::linear::{self, Linear};
use longhand::layers::max_pool2d::{self, MaxPool2d};
use longhand::layers::{Window, cross_entropy, relu};

use crate::groups::{OnLanes, first_image, group, on_lanes};
use crate::{Bench, Case, SETS, check, random, random_sets};

pub fn bench(bench: &mut Bench) {
    max_pool2d(bench);
    relu(bench);
    linear(bench);
    cross_entropy(bench);
    on_lanes(InLanes(bench));
}

/// A case on one thread, of so many operations and elements of four bytes.
fn case(group: &'static str, way: &str, shape: &str, flops: usize, elements: usize) -> Case {
    Case {
        group,
        way: way.to_owned(),
        shape: shape.to_owned(),
        threads: 1,
        flops: flops as u64,
        bytes: (size_of::<f32>() * elements) as u64,
        ..Case::default()
    }
}

fn exact(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&x| f64::from(x)).collect()
}

/// The pooling behind the first convolution, and the floats that it reads or writes.
fn pooling() -> (MaxPool2d, [usize; 2]) {
    let window = Window {
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0, 0],
    };
    let pool = MaxPool2d::new([10, 24, 24], window).expect("it fits");
    let sizes = [pool.x(), pool.y()].map(|sizes| sizes.iter().product());
    (pool, sizes)
}

/// Forward and backward.
fn pooling_cases(way: &str, [pixels, windows]: [usize; 2]) -> [Case; 2] {
    // The reference looks for the winners again; the others have written them down.
    let (kept, looked_for) = match way {
        "reference" => (0, pixels),
        _ => (windows, 0),
    };
    // Three comparisons a window; backward it adds one number.
    let comparisons = 3 * windows;
    let searched = if looked_for > 0 { comparisons } else { 0 };
    [
        ("forward", comparisons, pixels + windows + kept),
        (
            "backward",
            searched + windows,
            looked_for + kept + windows + pixels,
        ),
    ]
    .map(|(pass, flops, elements)| Case {
        memory_bound: true,
        ..case(
            "max_pool2d",
            way,
            &format!("{pass} 2x2 on 10x24x24"),
            flops,
            elements,
        )
    })
}

fn max_pool2d(bench: &mut Bench) {
    let (pool, sizes) = pooling();
    let [pixels, windows] = sizes;
    let (x, d_y) = (random_sets(1, pixels), random_sets(2, windows));
    let (mut y, mut d_x) = (vec![0.0; windows], vec![0.0; pixels]);
    let mut winners = vec![vec![0; windows]; SETS];
    for ((x, d_y), winners) in x.iter().zip(&d_y).zip(&mut winners) {
        max_pool2d::reference::forward(&pool, x, &mut y);
        let expected = exact(&y);
        max_pool2d::im2col::forward(&pool, x, &mut y, winners);
        check("max_pool2d forward", &y, &expected);
        max_pool2d::reference::backward(&pool, x, d_y, &mut d_x);
        let expected = exact(&d_x);
        max_pool2d::im2col::backward(&pool, winners, d_y, &mut d_x);
        check("max_pool2d backward", &d_x, &expected);
    }
    let [forward, backward] = pooling_cases("reference", sizes);
    bench.time(forward, |turn| {
        max_pool2d::reference::forward(&pool, &x[turn], &mut y);
    });
    bench.time(backward, |turn| {
        max_pool2d::reference::backward(&pool, &x[turn], &d_y[turn], &mut d_x);
    });
    let [forward, backward] = pooling_cases("im2col", sizes);
    bench.time(forward, |turn| {
        max_pool2d::im2col::forward(&pool, &x[turn], &mut y, &mut winners[turn]);
    });
    bench.time(backward, |turn| {
        max_pool2d::im2col::backward(&pool, &winners[turn], &d_y[turn], &mut d_x);
    });
}

fn relu_case(way: &str, shape: String, tensors: usize, count: usize) -> Case {
    Case {
        memory_bound: true,
        ..case("relu", way, &shape, count, tensors * count)
    }
}

fn relu(bench: &mut Bench) {
    // One image, which the first cache holds, and a batch that only a server's last cache holds.
    for (images, name) in [(1, "10x24x24"), (4096, "4096x10x24x24")] {
        let count = images * 10 * 24 * 24;
        let sets = if images == 1 { SETS } else { 1 };
        let x: Vec<_> = (0..sets as u32).map(|part| random(part, count)).collect();
        let mut y = vec![1.0; count];
        relu::reference::forward(&x[0], &mut y);
        let zero = y.iter().zip(&x[0]).all(|(&y, &x)| y == x.max(0.0));
        assert!(zero, "relu forward");
        // `y` stands for `d_y` too, for any numbers will do.
        let mut d_x = vec![1.0; count];
        relu::reference::backward(&x[0], &y, &mut d_x);
        assert!(d_x == y, "relu backward: where x is negative y is 0");
        let memory_bound = |shape, tensors| relu_case("reference", shape, tensors, count);
        bench.time(memory_bound(format!("forward {name}"), 2), |turn| {
            relu::reference::forward(&x[turn % sets], black_box(&mut y));
        });
        bench.time(memory_bound(format!("backward {name}"), 3), |turn| {
            relu::reference::backward(&x[turn % sets], &y, black_box(&mut d_x));
        });
    }
}

/// Forward and backward for one of `n` examples that share the weight.
fn linear_cases(linear: &Linear, way: &str, n: usize) -> [Case; 2] {
    let (inputs, outputs) = (linear.in_features, linear.out_features);
    let elements = (inputs * outputs + outputs) / n + inputs + outputs;
    [1, 2].map(|products| {
        let pass = if products == 1 { "forward" } else { "backward" };
        let shape = format!("{pass} {inputs}->{outputs}");
        let flops = products * linear.flops() as usize;
        Case {
            times: n,
            ..case("linear", way, &shape, flops, products * elements)
        }
    })
}

fn linear(bench: &mut Bench) {
    const N: usize = 4;
    let linear = Linear::new(320, 50).expect("it fits");
    let (inputs, outputs) = (linear.in_features, linear.out_features);
    let (weight, bias) = (random(1000, inputs * outputs), random(1001, outputs));
    let (x, d_y) = (random_sets(1, N * inputs), random_sets(2, N * outputs));
    let (mut y, mut d_x) = (vec![0.0; N * outputs], vec![0.0; N * inputs]);
    let (mut d_weight, mut d_bias) = (vec![0.0; inputs * outputs], vec![0.0; outputs]);

    let reference_forward = |x: &[f32], y: &mut [f32]| {
        for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
            linear::reference::forward(&linear, x, &weight, &bias, y);
        }
    };
    let reference_backward =
        |x: &[f32], d_y: &[f32], d_x: &mut [f32], d_weight: &mut [f32], d_bias: &mut [f32]| {
            let examples = x.chunks_exact(inputs).zip(d_y.chunks_exact(outputs));
            for ((x, d_y), d_x) in examples.zip(d_x.chunks_exact_mut(inputs)) {
                linear::reference::backward(&linear, x, &weight, d_y, d_x, d_weight, d_bias);
            }
        };
    reference_forward(&x[0], &mut y);
    reference_backward(&x[0], &d_y[0], &mut d_x, &mut d_weight, &mut d_bias);
    let expected = [&y, &d_x, &d_weight, &d_bias].map(|numbers| exact(numbers));
    d_weight.fill(0.0);
    d_bias.fill(0.0);
    linear::im2col::forward(&linear, N, &x[0], &weight, &bias, &mut y);
    linear::im2col::backward(
        &linear,
        N,
        &x[0],
        &weight,
        &d_y[0],
        Some(&mut d_x),
        &mut d_weight,
        &mut d_bias,
    );
    for (found, expected) in [&y, &d_x, &d_weight, &d_bias].into_iter().zip(&expected) {
        check("linear", found, expected);
    }

    let [forward, backward] = linear_cases(&linear, "reference", N);
    bench.time(forward, |turn| reference_forward(&x[turn], &mut y));
    bench.time(backward, |turn| {
        reference_backward(&x[turn], &d_y[turn], &mut d_x, &mut d_weight, &mut d_bias);
    });
    let [forward, backward] = linear_cases(&linear, "im2col", N);
    bench.time(forward, |turn| {
        linear::im2col::forward(&linear, N, &x[turn], &weight, &bias, &mut y);
    });
    bench.time(backward, |turn| {
        linear::im2col::backward(
            &linear,
            N,
            &x[turn],
            &weight,
            &d_y[turn],
            Some(&mut d_x),
            &mut d_weight,
            &mut d_bias,
        );
    });
}

/// The same layers with a group of images in the lanes.
struct InLanes<'a>(&'a mut Bench);

impl OnLanes for InLanes<'_> {
    type Output = ();

    fn call<T: Lanes>(self, t: T) {
        max_pool2d_in_lanes(t, self.0);
        relu_in_lanes(t, self.0);
        linear_in_lanes(t, self.0);
        cross_entropy_in_lanes(t, self.0);
    }
}

fn max_pool2d_in_lanes<T: Lanes>(t: T, bench: &mut Bench) {
    let (pool, sizes) = pooling();
    let [pixels, windows] = sizes;
    let (x, d_y) = (random_sets(1, pixels), random_sets(2, windows));
    let groups = |images: &[Vec<f32>]| [0, 1, 2, 3].map(|turn| group(t, images, turn));
    let (x_groups, d_y_groups): ([_; SETS], [_; SETS]) = (groups(&x), groups(&d_y));
    let (mut y, mut d_x) = (t.zeros(windows), t.zeros(pixels));
    let mut winners = vec![t.zeros(windows); SETS];
    for (turn, winners) in winners.iter_mut().enumerate() {
        let mut expected = vec![0.0; windows];
        max_pool2d::reference::forward(&pool, &exact(&x[turn]), &mut expected);
        max_pool2d::lanes::forward(t, &pool, &x_groups[turn], &mut y, winners);
        check(
            "max_pool2d forward in lanes",
            &first_image(t, &y),
            &expected,
        );
        let mut expected = vec![0.0; pixels];
        let (x, d_y) = (exact(&x[turn]), exact(&d_y[turn]));
        max_pool2d::reference::backward(&pool, &x, &d_y, &mut expected);
        max_pool2d::lanes::backward(t, &pool, winners, &d_y_groups[turn], &mut d_x);
        check(
            "max_pool2d backward in lanes",
            &first_image(t, &d_x),
            &expected,
        );
    }
    let [forward, backward] = pooling_cases("lanes", sizes).map(|case| Case {
        times: T::WIDTH,
        ..case
    });
    bench.time(forward, |turn| {
        max_pool2d::lanes::forward(t, &pool, &x_groups[turn], &mut y, &mut winners[turn]);
    });
    bench.time(backward, |turn| {
        max_pool2d::lanes::backward(t, &pool, &winners[turn], &d_y_groups[turn], &mut d_x);
    });
}

fn relu_in_lanes<T: Lanes>(t: T, bench: &mut Bench) {
    const COUNT: usize = 10 * 24 * 24;
    let x = random_sets(1, COUNT);
    let groups = [0, 1, 2, 3].map(|turn| group(t, &x, turn));
    let mut y = t.zeros(COUNT);
    relu::lanes::forward(t, &groups[0], &mut y);
    let mut expected = vec![0.0; COUNT];
    relu::reference::forward(&exact(&x[0]), &mut expected);
    check("relu forward in lanes", &first_image(t, &y), &expected);
    let mut d_x = t.zeros(COUNT);
    relu::lanes::backward(t, &groups[0], &y, &mut d_x);
    check("relu backward in lanes", &first_image(t, &d_x), &expected);
    let [forward, backward] = [("forward", 2), ("backward", 3)].map(|(pass, tensors)| Case {
        times: T::WIDTH,
        ..relu_case("lanes", format!("{pass} 10x24x24"), tensors, COUNT)
    });
    bench.time(forward, |turn| {
        relu::lanes::forward(t, &groups[turn], black_box(&mut y));
    });
    bench.time(backward, |turn| {
        relu::lanes::backward(t, &groups[turn], &y, black_box(&mut d_x));
    });
}

fn linear_in_lanes<T: Lanes>(t: T, bench: &mut Bench) {
    let linear = Linear::new(320, 50).expect("it fits");
    let (inputs, outputs) = (linear.in_features, linear.out_features);
    let (weight, bias) = (random(1000, inputs * outputs), random(1001, outputs));
    let (x, d_y) = (random_sets(1, inputs), random_sets(2, outputs));
    let groups = |images: &[Vec<f32>]| [0, 1, 2, 3].map(|turn| group(t, images, turn));
    let (x_groups, d_y_groups): ([_; SETS], [_; SETS]) = (groups(&x), groups(&d_y));
    let (mut y, mut d_x) = (t.zeros(outputs), t.zeros(inputs));
    let (mut d_weight, mut d_bias) = (vec![0.0; inputs * outputs], vec![0.0; outputs]);
    let mut scratch = t.zeros(linear::lanes::scratch_len(&linear, T::WIDTH));
    let mut backward =
        |turn: usize, d_x: &mut [T::Vector], d_weight: &mut [f32], d_bias: &mut [f32]| {
            let (x, d_y) = (&x_groups[turn], &d_y_groups[turn]);
            let (d_x, scratch) = (Some(d_x), &mut scratch);
            linear::lanes::backward(t, &linear, x, &weight, d_y, d_x, scratch, d_weight, d_bias);
        };

    linear::lanes::forward(t, &linear, &x_groups[0], &weight, &bias, &mut y);
    backward(0, &mut d_x, &mut d_weight, &mut d_bias);
    let mut expected = [outputs, inputs, inputs * outputs, outputs].map(|count| vec![0.0; count]);
    let [expected_y, expected_d_x, expected_d_weight, expected_d_bias] = &mut expected;
    let (weight_64, bias_64) = (exact(&weight), exact(&bias));
    linear::reference::forward(&linear, &exact(&x[0]), &weight_64, &bias_64, expected_y);
    for lane in 0..T::WIDTH {
        let (x, d_y) = (exact(&x[lane % SETS]), exact(&d_y[lane % SETS]));
        let (mut d_x, d_weight) = (vec![0.0; inputs], &mut *expected_d_weight);
        linear::reference::backward(
            &linear,
            &x,
            &weight_64,
            &d_y,
            &mut d_x,
            d_weight,
            expected_d_bias,
        );
        if lane == 0 {
            *expected_d_x = d_x;
        }
    }
    let [y_found, d_x_found] = [&y, &d_x].map(|vectors| first_image(t, vectors));
    let found = [y_found, d_x_found, d_weight.clone(), d_bias.clone()];
    for (found, expected) in found.iter().zip(&expected) {
        check("linear in lanes", found, expected);
    }

    let mut y_alone = vec![0.0; outputs];
    linear::one_image::forward(t, &linear, &x[0], &weight, &bias, &mut y_alone);
    check("linear of one image", &y_alone, &expected[0]);
    let [case_alone, _] = linear_cases(&linear, "one_image", 1);
    bench.time(case_alone, |turn| {
        linear::one_image::forward(t, &linear, &x[turn], &weight, &bias, &mut y_alone);
    });

    let [case_forward, case_backward] = linear_cases(&linear, "lanes", T::WIDTH);
    bench.time(case_forward, |turn| {
        linear::lanes::forward(t, &linear, &x_groups[turn], &weight, &bias, &mut y);
    });
    bench.time(case_backward, |turn| {
        backward(turn, &mut d_x, &mut d_weight, &mut d_bias)
    });
}

const CLASSES: usize = 10;

const CROSS_ENTROPY: &str = "forward and backward 10";

fn cross_entropy_case(way: &str, shape: &str) -> Case {
    case("cross_entropy", way, shape, 0, 0)
}

fn cross_entropy(bench: &mut Bench) {
    let z = random_sets(1, CLASSES);
    let mut d_z = vec![0.0; CLASSES];
    for (label, z) in z.iter().enumerate() {
        cross_entropy::reference::backward(z, label, 0.0, 1, &mut d_z);
        let mut expected = vec![0.0; CLASSES];
        cross_entropy::reference::backward(&exact(z), label, 0.0, 1, &mut expected);
        check("cross_entropy backward", &d_z, &expected);
        let loss = cross_entropy::reference::forward(z, label, 0.0);
        let expected = cross_entropy::reference::forward(&exact(z), label, 0.0);
        check("cross_entropy forward", &[loss], &[expected]);
    }
    bench.time(cross_entropy_case("reference", CROSS_ENTROPY), |turn| {
        black_box(cross_entropy::reference::forward(&z[turn], turn, 0.0));
        cross_entropy::reference::backward(&z[turn], turn, 0.0, 1, black_box(&mut d_z));
    });
}

fn cross_entropy_in_lanes<T: Lanes>(t: T, bench: &mut Bench) {
    let z = random_sets(1, CLASSES);
    let groups = [0, 1, 2, 3].map(|turn| group(t, &z, turn));
    let labels: Vec<usize> = (0..T::WIDTH).map(|lane| lane % CLASSES).collect();
    let (mut d_z, mut answers) = (t.zeros(CLASSES), Answers::default());
    let run = |turn: usize, d_z: &mut [T::Vector], answers: &mut Answers| {
        let z: &[T::Vector] = &groups[turn];
        cross_entropy::lanes::forward_backward(t, z, &labels, 0.0, T::WIDTH, d_z, answers);
    };
    run(0, &mut d_z, &mut answers);
    let (z, mut expected) = (exact(&z[0]), vec![0.0; CLASSES]);
    let loss = cross_entropy::reference::forward(&z, 0, 0.0);
    cross_entropy::reference::backward(&z, 0, 0.0, T::WIDTH, &mut expected);
    check(
        "cross_entropy forward in lanes",
        &answers.losses[..1],
        &[loss],
    );
    check(
        "cross_entropy backward in lanes",
        &first_image(t, &d_z),
        &expected,
    );
    let case = Case {
        times: T::WIDTH,
        ..cross_entropy_case("lanes", CROSS_ENTROPY)
    };
    bench.time(case, |turn| run(turn, &mut d_z, &mut answers));
}
