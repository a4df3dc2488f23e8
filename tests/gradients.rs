//! The reference against finite differences, in f64, with random upstream gradients: every layer
//! over strides, paddings and odd sizes, and whole networks.

use longhand::data::{Batch, Images, Normalisation};
use longhand::engines::check::{
    Case, against_reference, cross_entropy_differences, finite_differences,
};
use longhand::engines::{Backward, Engine, EngineError, Metrics, Reference};
use longhand::network::{Description, Network, Preset};
use longhand::optimisers::{StepRule, TrainingState};
use longhand::tensor::Tensor;
use ndarray::Array2;
use proptest::prelude::*;

/// Central differences in f64 keep about nine digits here; one wrong term costs all of them.
const TOLERANCE: f64 = 1e-6;

/// A drawn network, whose sizes were drawn without looking whether the window fits.
fn check_if_it_fits(text: &str, examples: usize, seed: u64) {
    let description: Description = text.parse().expect("a network's text");
    if let Ok(network) = Network::new(&description, None) {
        check(&network, examples, seed);
    }
}

fn check(network: &Network, examples: usize, seed: u64) {
    let case = Case::draw(network, examples, seed).expect("a case");
    for row in finite_differences(network, &case, 60).expect("differences") {
        assert!(
            row.error <= TOLERANCE,
            "{network}, {examples} examples, seed {seed}: {} differs by {:e}, kink at {:e}",
            row.name,
            row.error,
            case.margin
        );
    }
}

/// Channels, height, width, kernel, stride, padding, examples, seed.
type Sizes = (
    usize,
    [usize; 2],
    [usize; 2],
    [usize; 2],
    [usize; 2],
    usize,
    u64,
);

fn sizes() -> impl Strategy<Value = Sizes> {
    (
        1..4_usize,
        [1..9_usize, 1..9],
        [1..5_usize, 1..5],
        [1..4_usize, 1..4],
        [0..3_usize, 0..3],
        1..4_usize,
        any::<u64>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn conv2d_has_the_gradients_of_its_output(sizes in sizes(), out in 1..4_usize) {
        let (c, [h, w], [kh, kw], [sh, sw], [ph, pw], examples, seed) = sizes;
        let text = format!("input {c}x{h}x{w}, conv2d {out} {kh}x{kw} stride={sh}x{sw} padding={ph}x{pw}");
        check_if_it_fits(&text, examples, seed);
    }

    #[test]
    fn max_pool2d_has_the_gradients_of_its_output(sizes in sizes()) {
        let (c, [h, w], [kh, kw], [sh, sw], [ph, pw], examples, seed) = sizes;
        let text = format!("input {c}x{h}x{w}, max_pool2d {kh}x{kw} stride={sh}x{sw} padding={ph}x{pw}");
        check_if_it_fits(&text, examples, seed);
    }

    #[test]
    fn relu_has_the_gradients_of_its_output(sizes in sizes()) {
        let (c, [h, w], .., examples, seed) = sizes;
        check_if_it_fits(&format!("input {c}x{h}x{w}, relu"), examples, seed);
    }

    #[test]
    fn dropout_has_the_gradients_of_its_output(sizes in sizes(), p in 0.0..0.99) {
        let (c, [h, w], .., examples, seed) = sizes;
        check_if_it_fits(&format!("input {c}x{h}x{w}, dropout {p}"), examples, seed);
    }

    #[test]
    fn flatten_and_linear_have_the_gradients_of_their_output(sizes in sizes(), out in 1..9_usize) {
        let (c, [h, w], .., examples, seed) = sizes;
        check_if_it_fits(&format!("input {c}x{h}x{w}, flatten, linear {out}"), examples, seed);
    }

    #[test]
    fn cross_entropy_has_the_gradient_of_its_loss(
        classes in 1..12_usize,
        smoothing in prop_oneof![Just(0.0), 0.0..1.0],
        seed: u64,
    ) {
        let row = cross_entropy_differences(classes, smoothing, seed);
        // One class has no gradient at all, which leaves nothing to be relative to.
        prop_assert!(classes == 1 || row.error <= TOLERANCE, "{:e}", row.error);
    }
}

#[test]
fn a_network_of_every_layer_has_the_gradients_of_its_output() {
    let description: Description = "input 2x9x8, conv2d 4 3x2 padding=1, relu, max_pool2d 2 stride=1, \
         conv2d 3 2 stride=2x1, relu, dropout 0.25, max_pool2d 2x3 padding=1, flatten, linear 6, relu, \
         dropout 0.5, linear 4"
        .parse()
        .unwrap();
    let network = Network::new(&description, None).unwrap();
    for seed in 0..5 {
        check(&network, 3, seed);
    }
}

/// What is compared must be able to differ.
#[test]
fn a_wrong_gradient_is_told_by_its_name() {
    let description: Description = "input 1x6x6, conv2d 2 3, relu, flatten, linear 3"
        .parse()
        .unwrap();
    let network = Network::new(&description, None).unwrap();
    let case = Case::draw(&network, 3, 1).unwrap();
    let right = Reference::<f32>::new(network.clone(), Normalisation::none(1)).unwrap();
    let mut wrong = Wrong(right);
    for row in against_reference(&mut wrong, &case).unwrap() {
        let last = row.name == network.parameters()[3].name;
        assert_eq!(row.error > 1e-4, last, "{}: {:e}", row.name, row.error);
    }
}

/// The gradient by its last parameter has the wrong sign.
struct Wrong(Reference<f32>);

impl Engine for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn network(&self) -> &Network {
        self.0.network()
    }

    fn threads(&self) -> usize {
        1
    }

    fn load(&mut self, state: &TrainingState) -> Result<(), EngineError> {
        self.0.load(state)
    }

    fn state(&self) -> Result<TrainingState, EngineError> {
        self.0.state()
    }

    fn steps(&self) -> u64 {
        self.0.steps()
    }

    fn backward(&mut self, x: &Tensor, d_y: &Tensor) -> Result<Backward, EngineError> {
        let mut backward = self.0.backward(x, d_y)?;
        if let Some(last) = backward.d_parameters.last_mut() {
            *last = -*last;
        }
        Ok(backward)
    }

    fn gradients(
        &mut self,
        batch: &Batch,
        rule: &StepRule,
    ) -> Result<(Metrics, Vec<f32>), EngineError> {
        self.0.gradients(batch, rule)
    }

    fn train_batch(&mut self, batch: &Batch, rule: &StepRule) -> Result<Metrics, EngineError> {
        self.0.train_batch(batch, rule)
    }

    fn predict(&mut self, images: &Images) -> Result<Array2<f32>, EngineError> {
        self.0.predict(images)
    }
}

#[test]
fn every_preset_has_the_gradients_of_its_output() {
    for preset in Preset::ALL {
        let network = Network::new(&preset.description(10), Some([1, 28, 28])).unwrap();
        check(&network, 2, 1);
    }
}
