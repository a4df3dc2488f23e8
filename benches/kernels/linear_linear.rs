//! Two linear layers with nothing between them, one after the other and as the one that they are: what a
//! batch of 32 images has of them in a step.

use longhand::hardware::lanes::{Lanes, Numbers};
use longhand::layers::linear::{self, Linear};
use longhand::layers::linear_linear::{self, LinearLinear};

use crate::groups::{OnLanes, first_image, group, on_lanes};
use crate::{Bench, Case, SETS, check, random, random_sets};

const BATCH: usize = 32;

pub fn bench(bench: &mut Bench) {
    on_lanes(InLanes(bench));
}

struct InLanes<'a>(&'a mut Bench);

impl OnLanes for InLanes<'_> {
    type Output = ();

    fn call<T: Lanes>(self, t: T) {
        compare(t, self.0);
    }
}

fn compare<T: Lanes>(t: T, bench: &mut Bench) {
    let first = Linear::new(320, 50).expect("it fits");
    let second = Linear::new(50, 10).expect("it fits");
    let pair = LinearLinear::new(&first, &second).expect("the second is narrow");
    let merged = pair.merged();
    let [w1, b1, w2, b2] = [320 * 50, 50, 50 * 10, 10];
    let parameters = random(1000, w1 + b1 + w2 + b2); // W1 b1 W2 b2
    let (x, d_y) = (random_sets(1, 320), random_sets(2, 10));
    let groups = |images: &[Vec<f32>]| [0, 1, 2, 3].map(|turn| group(t, images, turn));
    let (x_groups, d_y_groups): ([_; SETS], [_; SETS]) = (groups(&x), groups(&d_y));
    let batch = 0..BATCH / T::WIDTH;

    let split = |numbers: &[f32]| -> [Vec<f32>; 4] {
        let mut rest = numbers;
        [w1, b1, w2, b2].map(|count| {
            let (tensor, behind) = rest.split_at(count);
            rest = behind;
            tensor.to_vec()
        })
    };
    let [weight_1, bias_1, weight_2, bias_2] = split(&parameters);
    let scratch_len = linear::lanes::scratch_len(&first, T::WIDTH);
    let mut scratch = t.zeros(scratch_len.max(linear::lanes::scratch_len(&second, T::WIDTH)));
    let (mut h, mut d_h) = (t.zeros(50), t.zeros(50));
    let (mut y, mut d_x) = (t.zeros(10), t.zeros(320));
    let mut d_parameters = [w1, b1, w2, b2].map(|count| vec![0.0; count]);
    let mut apart = |turn: usize,
                     y: &mut [T::Vector],
                     d_x: &mut [T::Vector],
                     [d_w1, d_b1, d_w2, d_b2]: &mut [Vec<f32>; 4]| {
        let (x, d_y) = (&x_groups[turn], &d_y_groups[turn]);
        let scratch = &mut scratch[..];
        for _ in batch.clone() {
            linear::lanes::forward(t, &first, x, &weight_1, &bias_1, &mut h);
            linear::lanes::forward(t, &second, &h, &weight_2, &bias_2, y);
            let (d_h_wanted, d_x) = (Some(&mut d_h[..]), Some(&mut *d_x));
            linear::lanes::backward(
                t, &second, &h, &weight_2, d_y, d_h_wanted, scratch, d_w2, d_b2,
            );
            linear::lanes::backward(t, &first, x, &weight_1, &d_h, d_x, scratch, d_w1, d_b1);
        }
    };
    apart(0, &mut y, &mut d_x, &mut d_parameters);
    let exact = |numbers: Vec<f32>| -> Vec<f64> { numbers.into_iter().map(f64::from).collect() };
    let expected_y = exact(first_image(t, &y));
    let expected_d_x = exact(first_image(t, &d_x));
    let expected = exact(d_parameters.concat());

    let mut as_one = Numbers::zeros(t, pair.merged_len());
    let mut d_merged = Numbers::zeros(t, pair.merged_len());
    let mut found = vec![0.0; parameters.len()];
    let mut scratch = t.zeros(scratch_len);
    let mut together =
        |turn: usize, y: &mut [T::Vector], d_x: &mut [T::Vector], found: &mut [f32]| {
            let (x, d_y) = (&x_groups[turn], &d_y_groups[turn]);
            linear_linear::lanes::merge(t, &pair, &parameters, &mut as_one);
            let (weight, bias) = as_one.split_at(10 * 320);
            d_merged.fill(0.0);
            let (d_weight, d_bias) = d_merged.split_at_mut(10 * 320);
            for _ in batch.clone() {
                linear::lanes::forward(t, &merged, x, weight, bias, y);
                let (d_x, scratch) = (Some(&mut *d_x), &mut scratch[..]);
                linear::lanes::backward(t, &merged, x, weight, d_y, d_x, scratch, d_weight, d_bias);
            }
            linear_linear::lanes::gradients(t, &pair, &parameters, &d_merged, found);
        };
    together(0, &mut y, &mut d_x, &mut found);
    check("linear_linear y", &first_image(t, &y), &expected_y);
    check("linear_linear d_x", &first_image(t, &d_x), &expected_d_x);
    check("linear_linear d_parameters", &found, &expected);

    let case = |way: &str, executed_flops| Case {
        group: "linear_linear",
        way: way.to_owned(),
        shape: format!("step of {BATCH} 320->50->10"),
        threads: 1,
        flops: 3 * BATCH as u64 * (first.flops() + second.flops()),
        executed_flops,
        ..Case::default()
    };
    bench.time(case("lanes", None), |turn| {
        apart(turn, &mut y, &mut d_x, &mut d_parameters);
    });
    let executed = 3 * (BATCH as u64 * merged.flops() + pair.merging_flops());
    bench.time(case("lanes_merged", Some(executed)), |turn| {
        together(turn, &mut y, &mut d_x, &mut found);
    });
}
