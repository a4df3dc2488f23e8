//! Convolution: the forward pass and the two products of the backward pass, one image at a time or
//! a group of images in the lanes; and the gradient by the weight behind a pooling.
//!
//! A new way is a function that prepares it, and its line in [`FORWARD`], [`INPUT_GRADIENT`] or
//! [`WEIGHT_GRADIENT`].

use longhand::hardware::lanes::{Lanes, MAX_WIDTH, Numbers};
use longhand::hardware::{self, Target};
use longhand::layers::Window;
use longhand::layers::conv2d::lanes::{Plain, PlainGradients};
use longhand::layers::conv2d::one_image::{self as bands, Bands, Convolution};
use longhand::layers::conv2d::winograd::{self, Winograd};
use longhand::layers::conv2d::{Conv2d, im2col, lanes, reference};
use longhand::layers::conv2d_relu_max_pool2d::lanes::{Pooled, PooledGradients, Winner};
use longhand::layers::max_pool2d::{self, MaxPool2d};
use longhand::layers::relu;

use crate::gemm::{Product, matrixmultiply, view, view_mut};
use crate::groups::{self, OnLanes, first_image, group};
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
    Way::new("lanes_direct", |problem| {
        lanes_pass(problem, Pass::Forward, false)
    }),
    Way::new("lanes_winograd", |problem| {
        lanes_pass(problem, Pass::Forward, true)
    }),
    Way::new("one_image_direct", |problem| {
        one_image_bands(problem, false)
    }),
    Way::new("one_image_winograd", |problem| {
        one_image_bands(problem, true)
    }),
];

const INPUT_GRADIENT: &[Way] = &[
    Way::both("reference", input_gradient_reference),
    Way::new("im2col_matrixmultiply", input_gradient_matrixmultiply),
    Way::new("im2col_gemm", input_gradient_gemm),
    Way::both("lanes_direct", |problem| {
        lanes_pass(problem, Pass::InputGradient, false)
    }),
    Way::both("lanes_winograd", |problem| {
        lanes_pass(problem, Pass::InputGradient, true)
    }),
];

const WEIGHT_GRADIENT: &[Way] = &[
    Way::both("reference", weight_gradient_reference),
    Way::new("im2col_matrixmultiply", weight_gradient_matrixmultiply),
    Way::new("im2col_gemm", weight_gradient_gemm),
    Way::new("lanes_direct", |problem| {
        lanes_pass(problem, Pass::WeightGradient, false)
    }),
    Way::new("lanes_winograd", |problem| {
        lanes_pass(problem, Pass::WeightGradient, true)
    }),
];

/// Which of the three.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Forward,
    InputGradient,
    WeightGradient,
}

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

/// What is timed.
trait Run {
    /// Computes, from the inputs of this turn.
    fn run(&mut self, turn: usize);

    /// `y` or `d_x` of the first image that was last computed; or `d_weight`, added up.
    fn output(&self) -> Vec<f32>;

    /// How many images are computed together.
    fn images(&self) -> usize {
        1
    }

    /// The operations of one image, where they are others than the definition's.
    fn executed_flops(&self) -> Option<u64> {
        None
    }
}

/// One image at a time: `run` is told the turn, and what it is to write or to add to.
struct OneImage<F> {
    output: Vec<f32>,
    run: F,
}

impl<F: FnMut(usize, &mut [f32])> Run for OneImage<F> {
    fn run(&mut self, turn: usize) {
        (self.run)(turn, &mut self.output);
    }

    fn output(&self) -> Vec<f32> {
        self.output.clone()
    }
}

fn one_image<'a>(
    length: usize,
    run: impl FnMut(usize, &mut [f32]) + 'a,
) -> Option<Box<dyn Run + 'a>> {
    let output = vec![0.0; length];
    Some(Box::new(OneImage { output, run }))
}

/// Allocates, and does what is done once for many images; `None` where the way does not have such
/// layers.
type Prepare = for<'a> fn(&'a Problem) -> Option<Box<dyn Run + 'a>>;

/// A way of computing one of the three.
struct Way {
    name: &'static str,
    prepare: Prepare,
    /// How many of the three it computes at once.
    products: u64,
}

impl Way {
    const fn new(name: &'static str, prepare: Prepare) -> Self {
        Self {
            name,
            prepare,
            products: 1,
        }
    }

    /// A way that computes both gradients at once, and is judged by the operations of both.
    const fn both(name: &'static str, prepare: Prepare) -> Self {
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
        for (group, ways, expected) in [
            ("conv2d_forward", FORWARD, Pass::Forward),
            ("conv2d_input_gradient", INPUT_GRADIENT, Pass::InputGradient),
            (
                "conv2d_weight_gradient",
                WEIGHT_GRADIENT,
                Pass::WeightGradient,
            ),
        ] {
            for way in ways {
                problem.time(bench, group, way, expected);
            }
        }
        groups::on_lanes(BehindPooling {
            bench,
            problem: &problem,
        });
    }
}

/// The gradients by weight and bias where ReLU and pooling follow, which leave one output of four at most.
struct BehindPooling<'a> {
    bench: &'a mut Bench,
    problem: &'a Problem,
}

impl OnLanes for BehindPooling<'_> {
    type Output = ();

    fn call<T: Lanes>(self, t: T) {
        let Self { bench, problem } = self;
        let Problem {
            conv, weight, bias, ..
        } = problem;
        let Some(winograd) = Winograd::new(conv, T::WIDTH) else {
            return;
        };
        let window = Window {
            stride: [2; 2],
            ..Window::new([2; 2])
        };
        let pool = MaxPool2d::new(conv.y(), window).expect("it fits");
        let windows = pool.y().iter().product();
        let d_y = random_sets(3, windows);
        let [x, d_y_groups] = [&problem.x, &d_y]
            .map(|images| -> Vec<_> { (0..SETS).map(|turn| group(t, images, turn)).collect() });
        let mut u = Numbers::zeros(t, winograd.weight_len());
        winograd::transform_weight(t, &winograd, weight, &mut u);
        let mut scratch = t.zeros(winograd.scratch_len(T::WIDTH));
        let mut kept = vec![t.zeros(winograd.input_len()); SETS];
        let mut winners_of = vec![vec![Winner::default(); windows]; SETS];
        let mut y_groups = vec![t.zeros(windows); SETS];
        let outputs = y_groups.iter_mut().zip(&mut winners_of);
        for ((x, kept), (y, winners)) in x.iter().zip(&mut kept).zip(outputs) {
            let mut y = Pooled {
                size: pool.output,
                bias,
                y,
                winners: Some(winners),
            };
            winograd::forward(t, &winograd, x, &u, kept, &mut scratch, &mut y);
        }
        let (mut d_weight, mut d_bias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
        let mut run = |turn: usize, d_weight: &mut [f32], d_bias: &mut [f32]| {
            let d_y = PooledGradients {
                size: pool.output,
                y: &y_groups[turn],
                winners: &winners_of[turn],
                d_y: &d_y_groups[turn],
            };
            let (v, scratch) = (&mut kept[turn], &mut scratch);
            winograd::backward(t, &winograd, &u, v, &d_y, None, scratch, d_weight, d_bias);
        };

        run(0, &mut d_weight, &mut d_bias);
        let (mut expected, mut expected_bias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
        for image in (0..T::WIDTH).map(|lane| lane % SETS) {
            let [weight, bias, x, d_y] = [weight, bias, &problem.x[image], &d_y[image]]
                .map(|numbers| numbers.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
            let mut y = vec![0.0; problem.d_y[0].len()];
            reference::forward(conv, &x, &weight, &bias, &mut y);
            let [mut y_relu, mut d_relu, mut d_conv] = [(); 3].map(|()| vec![0.0; y.len()]);
            relu::reference::forward(&y, &mut y_relu);
            max_pool2d::reference::backward(&pool, &y_relu, &d_y, &mut d_relu);
            relu::reference::backward(&y, &d_relu, &mut d_conv);
            let mut d_x = vec![0.0; x.len()];
            let (d_weight, d_bias) = (&mut expected, &mut expected_bias);
            reference::backward(conv, &x, &weight, &d_conv, &mut d_x, d_weight, d_bias);
        }
        let group = "fused_weight_gradient";
        check(group, &d_weight, &expected);
        check(group, &d_bias, &expected_bias);
        // A group of images reads the weight once; of a window the output and its gradient.
        let elements = weight.len() / T::WIDTH + problem.x[0].len() + 2 * windows;
        let case = Case {
            group,
            way: "lanes_winograd".to_owned(),
            shape: problem.shape(),
            times: T::WIDTH,
            threads: 1,
            flops: conv.flops(),
            executed_flops: Some(winograd.backward_flops(true, false)),
            bytes: (size_of::<f32>() * elements) as u64,
            memory_bound: false,
        };
        bench.time(case, |turn| run(turn, &mut d_weight, &mut d_bias));
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

    /// `y` or `d_x` of the first turn, or `d_weight` added up over so many images, by the
    /// definition in `f64`.
    fn expected(&self, pass: Pass, images: usize) -> Vec<f64> {
        let exact = |numbers: &[f32]| numbers.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let [weight, bias] = [&self.weight, &self.bias].map(|numbers| exact(numbers));
        let (x, d_y) = (exact(&self.x[0]), exact(&self.d_y[0]));
        let [mut y, mut d_x, mut d_weight, mut d_bias] =
            [&d_y, &x, &weight, &bias].map(|like| vec![0.0; like.len()]);
        let conv = &self.conv;
        match pass {
            Pass::Forward => {
                reference::forward(conv, &x, &weight, &bias, &mut y);
                y
            }
            Pass::InputGradient => {
                let (d_weight, d_bias) = (&mut d_weight, &mut d_bias);
                reference::backward(conv, &x, &weight, &d_y, &mut d_x, d_weight, d_bias);
                d_x
            }
            Pass::WeightGradient => {
                for image in (0..images).map(|image| image % SETS) {
                    let (x, d_y) = (exact(&self.x[image]), exact(&self.d_y[image]));
                    let (d_weight, d_bias) = (&mut d_weight, &mut d_bias);
                    reference::backward(conv, &x, &weight, &d_y, &mut d_x, d_weight, d_bias);
                }
                d_weight
            }
        }
    }

    fn time(&self, bench: &mut Bench, group: &'static str, way: &Way, pass: Pass) {
        let Some(mut run) = (way.prepare)(self) else {
            return;
        };
        let (conv, images) = (&self.conv, run.images());
        let shape = self.shape();
        run.run(0);
        check(
            &format!("{group} {} {shape}", way.name),
            &run.output(),
            &self.expected(pass, images),
        );
        // A group of images reads the weight once.
        let parameters = (self.weight.len() + self.bias.len()) / images;
        let elements = parameters + self.x[0].len() + self.d_y[0].len();
        let case = Case {
            group,
            way: way.name.to_owned(),
            shape,
            times: images,
            threads: 1,
            flops: way.products * conv.flops(),
            executed_flops: run.executed_flops(),
            bytes: way.products * (size_of::<f32>() * elements) as u64,
            memory_bound: false,
        };
        bench.time(case, |turn| run.run(turn));
    }

    fn shape(&self) -> String {
        let [channels, height, width] = self.conv.x();
        let [kernel_height, kernel_width] = self.conv.window.kernel;
        let outputs = self.conv.out_channels;
        format!("{channels}->{outputs} {kernel_height}x{kernel_width} on {height}x{width}")
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

fn forward_reference(problem: &Problem) -> Option<Box<dyn Run + '_>> {
    let Problem {
        conv,
        weight,
        bias,
        x,
        ..
    } = problem;
    one_image(problem.d_y[0].len(), move |turn, y| {
        reference::forward(conv, &x[turn], weight, bias, y);
    })
}

fn forward_matrixmultiply(problem: &Problem) -> Option<Box<dyn Run + '_>> {
    let [o, k, p] = problem.sizes();
    let mut cols = problem.cols();
    one_image(problem.d_y[0].len(), move |turn, y| {
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
    })
}

fn forward_gemm(problem: &Problem) -> Option<Box<dyn Run + '_>> {
    let Problem {
        conv,
        weight,
        bias,
        x,
        ..
    } = problem;
    let mut cols = problem.cols();
    one_image(problem.d_y[0].len(), move |turn, y| {
        im2col::forward(conv, &x[turn], weight, bias, &mut cols, y);
    })
}

fn input_gradient_reference(problem: &Problem) -> Option<Box<dyn Run + '_>> {
    let Problem {
        conv,
        weight,
        bias,
        x,
        d_y,
    } = problem;
    let (mut d_weight, mut d_bias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
    one_image(problem.x[0].len(), move |turn, d_x| {
        let (x, d_y) = (&x[turn], &d_y[turn]);
        reference::backward(conv, x, weight, d_y, d_x, &mut d_weight, &mut d_bias);
    })
}

fn input_gradient_matrixmultiply(problem: &Problem) -> Option<Box<dyn Run + '_>> {
    input_gradient_im2col(problem, matrixmultiply)
}

fn input_gradient_gemm(problem: &Problem) -> Option<Box<dyn Run + '_>> {
    input_gradient_im2col(problem, hardware::gemm)
}

/// The part of [`im2col::backward`] that makes `d_x`.
fn input_gradient_im2col(problem: &Problem, product: Product) -> Option<Box<dyn Run + '_>> {
    let [o, k, p] = problem.sizes();
    let mut cols = problem.cols();
    one_image(problem.x[0].len(), move |turn, d_x| {
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
    })
}

fn weight_gradient_reference(problem: &Problem) -> Option<Box<dyn Run + '_>> {
    let Problem {
        conv,
        weight,
        bias,
        x,
        d_y,
    } = problem;
    let (mut d_x, mut d_bias) = (vec![0.0; x[0].len()], vec![0.0; bias.len()]);
    one_image(problem.weight.len(), move |turn, d_weight| {
        let (x, d_y) = (&x[turn], &d_y[turn]);
        reference::backward(conv, x, weight, d_y, &mut d_x, d_weight, &mut d_bias);
    })
}

fn weight_gradient_matrixmultiply(problem: &Problem) -> Option<Box<dyn Run + '_>> {
    let [o, k, p] = problem.sizes();
    let cols = problem.cols_of_sets();
    let mut d_bias = vec![0.0; o];
    one_image(problem.weight.len(), move |turn, d_weight| {
        let d_y = view([o, p], &problem.d_y[turn]);
        for (d_bias, d_y) in d_bias.iter_mut().zip(d_y.rows()) {
            *d_bias += d_y.sum();
        }
        // d_weight (O, K) += d_y (O, P) . cols^T (P, K)
        let cols = view([k, p], &cols[turn]).reversed_axes();
        matrixmultiply(d_y, cols, Target::Sum, view_mut([o, k], d_weight));
    })
}

fn weight_gradient_gemm(problem: &Problem) -> Option<Box<dyn Run + '_>> {
    let Problem {
        conv,
        weight,
        bias,
        d_y,
        ..
    } = problem;
    let mut cols = problem.cols_of_sets();
    let mut d_bias = vec![0.0; bias.len()];
    one_image(problem.weight.len(), move |turn, d_weight| {
        let (cols, d_y) = (&mut cols[turn], &d_y[turn]);
        im2col::backward(conv, weight, cols, d_y, None, d_weight, &mut d_bias);
    })
}

fn one_image_bands(problem: &Problem, winograd: bool) -> Option<Box<dyn Run + '_>> {
    groups::on_lanes(OneImageBands { problem, winograd })
}

/// One image, whose own numbers stand in the lanes, directly or by Winograd's filtering.
struct OneImageBands<'a> {
    problem: &'a Problem,
    winograd: bool,
}

impl<'a> OnLanes for OneImageBands<'a> {
    type Output = Option<Box<dyn Run + 'a>>;

    fn call<T: Lanes>(self, t: T) -> Self::Output {
        let Problem {
            conv,
            weight,
            bias,
            x,
            d_y,
        } = self.problem;
        let bands = Bands::new(conv, None, self.winograd);
        let x = x.iter().map(|x| [&x[..], &[0.0; MAX_WIDTH]].concat());
        Some(Box::new(Alone {
            t,
            bands,
            convolution: Convolution::new(t, bands, weight, bias),
            x: x.collect(),
            outputs: d_y[0].len(),
            y: vec![0.0; d_y[0].len() + MAX_WIDTH],
        }))
    }
}

/// The buffers of one image.
struct Alone<T: Lanes> {
    t: T,
    bands: Bands,
    convolution: Convolution<T>,
    /// Each (C, H, W), and room behind.
    x: Vec<Vec<f32>>,
    /// O oh ow.
    outputs: usize,
    /// (O, oh, ow), and room behind.
    y: Vec<f32>,
}

impl<T: Lanes> Run for Alone<T> {
    fn run(&mut self, turn: usize) {
        let (x, y) = (&self.x[turn], &mut self.y);
        bands::forward(self.t, &mut self.convolution, x, y);
    }

    fn output(&self) -> Vec<f32> {
        self.y[..self.outputs].to_vec()
    }

    fn executed_flops(&self) -> Option<u64> {
        (self.bands.flops() != self.bands.conv().flops()).then(|| self.bands.flops())
    }
}

fn lanes_pass(problem: &Problem, pass: Pass, winograd: bool) -> Option<Box<dyn Run + '_>> {
    groups::on_lanes(LanesPass {
        problem,
        pass,
        winograd,
    })
}

/// A pass with a group of images in the lanes, directly or by Winograd's filtering.
struct LanesPass<'a> {
    problem: &'a Problem,
    pass: Pass,
    winograd: bool,
}

impl<'a> OnLanes for LanesPass<'a> {
    type Output = Option<Box<dyn Run + 'a>>;

    fn call<T: Lanes>(self, t: T) -> Self::Output {
        let (problem, conv) = (self.problem, &self.problem.conv);
        let winograd = if self.winograd {
            Some(Winograd::new(conv, T::WIDTH)?)
        } else {
            None
        };
        let [kept, scratch, u_len] = match &winograd {
            Some(winograd) => [
                winograd.input_len(),
                winograd.scratch_len(T::WIDTH),
                winograd.weight_len(),
            ],
            None => [lanes::frame_len(conv), lanes::scratch_len(conv), 0],
        };
        let turns = |images: &[Vec<f32>]| (0..SETS).map(|turn| group(t, images, turn)).collect();
        let x: Vec<_> = turns(&problem.x);
        let mut u = Numbers::zeros(t, u_len);
        if let Some(winograd) = &winograd {
            winograd::transform_weight(t, winograd, &problem.weight, &mut u);
        }
        let mut group = Group {
            t,
            problem,
            pass: self.pass,
            winograd,
            d_y: turns(&problem.d_y),
            y: t.zeros(problem.d_y[0].len()),
            d_x: t.zeros(problem.x[0].len()),
            d_weight: vec![0.0; problem.weight.len()],
            d_bias: vec![0.0; problem.bias.len()],
            kept: vec![t.zeros(kept); SETS],
            scratch: t.zeros(scratch),
            u,
            x,
        };
        // The backward passes read what the forward pass keeps.
        (0..SETS).for_each(|turn| group.forward(turn));
        Some(Box::new(group))
    }
}

/// The buffers of a pass with a group of images in the lanes.
struct Group<'a, T: Lanes> {
    t: T,
    problem: &'a Problem,
    pass: Pass,
    winograd: Option<Winograd>,
    /// Each (C, H, W) vectors.
    x: Vec<Vec<T::Vector>>,
    /// Each (O, oh, ow) vectors.
    d_y: Vec<Vec<T::Vector>>,
    y: Vec<T::Vector>,
    d_x: Vec<T::Vector>,
    d_weight: Vec<f32>,
    d_bias: Vec<f32>,
    /// Of every turn.
    kept: Vec<Vec<T::Vector>>,
    scratch: Vec<T::Vector>,
    u: Numbers<T>,
}

impl<T: Lanes> Group<'_, T> {
    fn forward(&mut self, turn: usize) {
        let (t, conv, x, kept) = (
            self.t,
            &self.problem.conv,
            &self.x[turn],
            &mut self.kept[turn],
        );
        let mut y = Plain {
            size: conv.output,
            bias: &self.problem.bias,
            y: &mut self.y,
        };
        match &self.winograd {
            None => lanes::forward(t, conv, x, &self.problem.weight, kept, &mut y),
            Some(w) => winograd::forward(t, w, x, &self.u, kept, &mut self.scratch, &mut y),
        }
    }

    fn backward(&mut self, turn: usize) {
        let (t, conv, x) = (self.t, &self.problem.conv, &self.x[turn]);
        let d_y = &PlainGradients {
            size: conv.output,
            d_y: &self.d_y[turn],
        };
        let d_x = (self.pass == Pass::InputGradient).then_some(&mut self.d_x[..]);
        let (weight, u) = (&self.problem.weight, &self.u);
        let (kept, scratch) = (&mut self.kept[turn], &mut self.scratch);
        let (d_weight, d_bias) = (&mut self.d_weight, &mut self.d_bias);
        match &self.winograd {
            None => lanes::backward(
                t, conv, x, kept, weight, d_y, d_x, scratch, d_weight, d_bias,
            ),
            Some(w) => winograd::backward(t, w, u, kept, d_y, d_x, scratch, d_weight, d_bias),
        }
    }
}

impl<T: Lanes> Run for Group<'_, T> {
    fn run(&mut self, turn: usize) {
        match self.pass {
            Pass::Forward => self.forward(turn),
            Pass::InputGradient | Pass::WeightGradient => self.backward(turn),
        }
    }

    fn output(&self) -> Vec<f32> {
        match self.pass {
            Pass::Forward => first_image(self.t, &self.y),
            Pass::InputGradient => first_image(self.t, &self.d_x),
            Pass::WeightGradient => self.d_weight.clone(),
        }
    }

    fn images(&self) -> usize {
        T::WIDTH
    }

    fn executed_flops(&self) -> Option<u64> {
        let winograd = self.winograd.as_ref()?;
        Some(match self.pass {
            Pass::Forward => winograd.forward_flops(),
            Pass::InputGradient => winograd.backward_flops(false, true),
            Pass::WeightGradient => winograd.backward_flops(false, false),
        })
    }
}
