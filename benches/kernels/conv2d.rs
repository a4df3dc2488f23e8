//! Convolution: the forward pass and the two products of the backward pass, one image at a time.
//!
//! A new way is a function that prepares it, and its line in [`FORWARD`], [`INPUT_GRADIENT`] or
//! [`WEIGHT_GRADIENT`].

use longhand::hardware::{self, Target};
use longhand::layers::Window;
use longhand::layers::conv2d::{Conv2d, im2col, reference};

use crate::gemm::{Product, matrixmultiply, view, view_mut};
use crate::{Bench, Case, SETS, check, random, random_sets};

/// C, O, kernel, H = W.
const SHAPES: [[usize; 4]; 4] = [
    [1, 10, 5, 28],
    [10, 20, 5, 12],
    [16, 32, 3, 28],
    [32, 64, 5, 14],
];

const FORWARD: &[Way] = &[
    Way::new("reference", forward_reference),
    Way::new("im2col_matrixmultiply", forward_matrixmultiply),
    Way::new("im2col_gemm", forward_gemm),
];

const INPUT_GRADIENT: &[Way] = &[
    Way::both("reference", input_gradient_reference),
    Way::new("im2col_matrixmultiply", input_gradient_matrixmultiply),
    Way::new("im2col_gemm", input_gradient_gemm),
];

const WEIGHT_GRADIENT: &[Way] = &[
    Way::both("reference", weight_gradient_reference),
    Way::new("im2col_matrixmultiply", weight_gradient_matrixmultiply),
    Way::new("im2col_gemm", weight_gradient_gemm),
];

/// A layer, with images that take turns.
struct Problem {
    conv: Conv2d,
    /// (O, C, kh, kw)
    weight: Vec<f32>,
    /// (O)
    bias: Vec<f32>,
    /// Each (C, H, W).
    x: Vec<Vec<f32>>,
    /// Each (O, oh, ow).
    d_y: Vec<Vec<f32>>,
}

/// What is timed: the turn, and the output, which is `y` or `d_x`, written, or `d_weight`, added
/// to.
type Run<'a> = Box<dyn FnMut(usize, &mut [f32]) + 'a>;

/// A way of computing one of the three.
struct Way {
    name: &'static str,
    /// Allocates, and does what is done once for many images; `None` where it does not have such
    /// layers.
    prepare: for<'a> fn(&'a Problem) -> Option<Run<'a>>,
    /// The operations it does, if it needs fewer than the definition.
    executed: Option<fn(&Conv2d) -> u64>,
    /// How many of the three it computes at once.
    products: u64,
}

impl Way {
    const fn new(name: &'static str, prepare: for<'a> fn(&'a Problem) -> Option<Run<'a>>) -> Self {
        Self {
            name,
            prepare,
            executed: None,
            products: 1,
        }
    }

    /// A way that computes both gradients at once, and is judged by the operations of both.
    const fn both(name: &'static str, prepare: for<'a> fn(&'a Problem) -> Option<Run<'a>>) -> Self {
        Self {
            products: 2,
            ..Self::new(name, prepare)
        }
    }
}

pub fn bench(bench: &mut Bench) {
    for [channels, outputs, kernel, size] in SHAPES {
        let window = Window::new([kernel; 2]);
        let conv = Conv2d::new([channels, size, size], outputs, window).expect("it fits");
        let problem = Problem::new(conv);
        let [y, d_x, d_weight] = problem.expected();
        for (group, ways, expected) in [
            ("conv2d_forward", FORWARD, y),
            ("conv2d_input_gradient", INPUT_GRADIENT, d_x),
            ("conv2d_weight_gradient", WEIGHT_GRADIENT, d_weight),
        ] {
            for way in ways {
                problem.time(bench, group, way, &expected);
            }
        }
    }
}

impl Problem {
    fn new(conv: Conv2d) -> Self {
        Self {
            weight: random(1000, conv.weight().iter().product()),
            bias: random(1001, conv.out_channels),
            x: random_sets(1, conv.x().iter().product()),
            d_y: random_sets(2, conv.y().iter().product()),
            conv,
        }
    }

    /// `y`, `d_x` and `d_weight` of the first turn, by the definition in `f64`.
    fn expected(&self) -> [Vec<f64>; 3] {
        let exact = |numbers: &[f32]| numbers.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let [x, d_y] = [&self.x[0], &self.d_y[0]].map(|numbers| exact(numbers));
        let [weight, bias] = [&self.weight, &self.bias].map(|numbers| exact(numbers));
        let [mut y, mut d_x, mut d_weight, mut d_bias] =
            [&d_y, &x, &weight, &bias].map(|like| vec![0.0; like.len()]);
        reference::forward(&self.conv, &x, &weight, &bias, &mut y);
        reference::backward(
            &self.conv,
            &x,
            &weight,
            &d_y,
            &mut d_x,
            &mut d_weight,
            &mut d_bias,
        );
        [y, d_x, d_weight]
    }

    fn time(&self, bench: &mut Bench, group: &'static str, way: &Way, expected: &[f64]) {
        let Some(mut run) = (way.prepare)(self) else {
            return;
        };
        let conv = &self.conv;
        let mut output = vec![0.0; expected.len()];
        run(0, &mut output);
        let [channels, height, width] = conv.x();
        let [kernel_height, kernel_width] = conv.window.kernel;
        let shape = format!(
            "{channels}->{} {kernel_height}x{kernel_width} on {height}x{width}",
            conv.out_channels
        );
        check(&format!("{group} {} {shape}", way.name), &output, expected);
        let elements = self.weight.len() + self.bias.len() + self.x[0].len() + self.d_y[0].len();
        let case = Case {
            group,
            way: way.name.to_owned(),
            shape,
            threads: 1,
            flops: way.products * conv.flops(),
            executed_flops: way.executed.map(|executed| executed(conv)),
            bytes: way.products * (size_of::<f32>() * elements) as u64,
            memory_bound: false,
        };
        bench.time(case, |turn| run(turn, &mut output));
    }

    /// O, K = C kh kw, P = oh ow.
    fn sizes(&self) -> [usize; 3] {
        let conv = &self.conv;
        [conv.out_channels, conv.fan_in(), conv.windows()]
    }

    /// Room for the columns of one image: (K, P).
    fn cols(&self) -> Vec<f32> {
        let [_, k, p] = self.sizes();
        vec![0.0; k * p]
    }

    /// The columns of every turn, which the forward pass leaves to the backward pass.
    fn cols_of_sets(&self) -> Vec<Vec<f32>> {
        let mut cols = vec![self.cols(); SETS];
        for (cols, x) in cols.iter_mut().zip(&self.x) {
            im2col::im2col(&self.conv, x, cols);
        }
        cols
    }
}

fn forward_reference(problem: &Problem) -> Option<Run<'_>> {
    let Problem {
        conv,
        weight,
        bias,
        x,
        ..
    } = problem;
    Some(Box::new(move |turn, y| {
        reference::forward(conv, &x[turn], weight, bias, y);
    }))
}

fn forward_matrixmultiply(problem: &Problem) -> Option<Run<'_>> {
    let [o, k, p] = problem.sizes();
    let mut cols = problem.cols();
    Some(Box::new(move |turn, y| {
        im2col::im2col(&problem.conv, &problem.x[turn], &mut cols);
        for (y, &bias) in y.chunks_exact_mut(p).zip(&problem.bias) {
            y.fill(bias);
        }
        // y (O, P) = bias + weight (O, K) . cols (K, P)
        let weight = view([o, k], &problem.weight);
        matrixmultiply(
            weight,
            view([k, p], &cols),
            Target::Sum,
            view_mut([o, p], y),
        );
    }))
}

fn forward_gemm(problem: &Problem) -> Option<Run<'_>> {
    let Problem {
        conv,
        weight,
        bias,
        x,
        ..
    } = problem;
    let mut cols = problem.cols();
    Some(Box::new(move |turn, y| {
        im2col::forward(conv, &x[turn], weight, bias, &mut cols, y);
    }))
}

fn input_gradient_reference(problem: &Problem) -> Option<Run<'_>> {
    let Problem {
        conv,
        weight,
        bias,
        x,
        d_y,
    } = problem;
    let (mut d_weight, mut d_bias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
    Some(Box::new(move |turn, d_x| {
        let (x, d_y) = (&x[turn], &d_y[turn]);
        reference::backward(conv, x, weight, d_y, d_x, &mut d_weight, &mut d_bias);
    }))
}

fn input_gradient_matrixmultiply(problem: &Problem) -> Option<Run<'_>> {
    input_gradient_im2col(problem, matrixmultiply)
}

fn input_gradient_gemm(problem: &Problem) -> Option<Run<'_>> {
    input_gradient_im2col(problem, hardware::gemm)
}

/// The part of [`im2col::backward`] that makes `d_x`.
fn input_gradient_im2col(problem: &Problem, product: Product) -> Option<Run<'_>> {
    let [o, k, p] = problem.sizes();
    let mut cols = problem.cols();
    Some(Box::new(move |turn, d_x| {
        // d_cols (K, P) = weight^T (K, O) . d_y (O, P)
        let weight = view([o, k], &problem.weight).reversed_axes();
        let d_y = view([o, p], &problem.d_y[turn]);
        product(
            weight,
            d_y,
            Target::Overwritten,
            view_mut([k, p], &mut cols),
        );
        im2col::col2im(&problem.conv, &cols, d_x);
    }))
}

fn weight_gradient_reference(problem: &Problem) -> Option<Run<'_>> {
    let Problem {
        conv,
        weight,
        bias,
        x,
        d_y,
    } = problem;
    let (mut d_x, mut d_bias) = (vec![0.0; x[0].len()], vec![0.0; bias.len()]);
    Some(Box::new(move |turn, d_weight| {
        let (x, d_y) = (&x[turn], &d_y[turn]);
        reference::backward(conv, x, weight, d_y, &mut d_x, d_weight, &mut d_bias);
    }))
}

fn weight_gradient_matrixmultiply(problem: &Problem) -> Option<Run<'_>> {
    let [o, k, p] = problem.sizes();
    let cols = problem.cols_of_sets();
    let mut d_bias = vec![0.0; o];
    Some(Box::new(move |turn, d_weight| {
        let d_y = view([o, p], &problem.d_y[turn]);
        for (d_bias, d_y) in d_bias.iter_mut().zip(d_y.rows()) {
            *d_bias += d_y.sum();
        }
        // d_weight (O, K) += d_y (O, P) . cols^T (P, K)
        let cols = view([k, p], &cols[turn]).reversed_axes();
        matrixmultiply(d_y, cols, Target::Sum, view_mut([o, k], d_weight));
    }))
}

fn weight_gradient_gemm(problem: &Problem) -> Option<Run<'_>> {
    let Problem {
        conv,
        weight,
        bias,
        d_y,
        ..
    } = problem;
    let mut cols = problem.cols_of_sets();
    let mut d_bias = vec![0.0; bias.len()];
    Some(Box::new(move |turn, d_weight| {
        let (cols, d_y) = (&mut cols[turn], &d_y[turn]);
        im2col::backward(conv, weight, cols, d_y, None, d_weight, &mut d_bias);
    }))
}
