//! Exported models give the same logits in an ONNX engine that knows nothing of this one.

mod place;

use std::fs;

use longhand::data::{Images, Normalisation};
use longhand::engines::{Engine, Reference};
use longhand::formats::onnx;
use longhand::layers::Shape;
use longhand::model::Model;
use longhand::network::Network;
use longhand::network::initialisation::initial_parameters;
use longhand::optimisers::TrainingState;
use longhand::tensor::{Tensor, relative_error};
use ndarray::IxDyn;
use place::{Place, failed, names, stdout};
use rten::Value;

/// Of each number.
const TOLERANCE: f64 = 1e-5;

/// The output of `file` for a normalised input, N examples of `shape`.
fn by_onnx(file: Vec<u8>, shape: [usize; 3], input: Vec<f32>, output: Shape) -> Vec<f32> {
    let loaded = rten::Model::load(file).unwrap();
    let n = input.len() / shape.iter().product::<usize>();
    let sizes = [&[n][..], &shape].concat();
    let input = Value::from_shape(&sizes, input).unwrap();
    let value = loaded.run_one(input.into(), None).unwrap();
    match output {
        Shape::Features(features) => {
            let ([rows, columns], numbers) = value.into_shape_vec::<f32, 2>().unwrap();
            assert_eq!([rows, columns], [n, features]);
            numbers
        }
        Shape::Image(sizes) => {
            let ([examples, rest @ ..], numbers) = value.into_shape_vec::<f32, 4>().unwrap();
            assert_eq!((examples, rest), (n, sizes));
            numbers
        }
    }
}

/// The same by the reference in f64.
fn by_reference(model: &Model, images: &Images) -> Vec<f64> {
    let Model {
        network,
        normalisation,
        parameters,
        ..
    } = model;
    let mut engine = Reference::<f64>::new(network.clone(), normalisation.clone()).unwrap();
    let parameters = parameters.iter().map(|&p| f64::from(p)).collect();
    engine
        .load(&TrainingState::from_parameters(parameters))
        .unwrap();
    match network.output() {
        Shape::Features(_) => engine.predict(images).unwrap().into_raw_vec_and_offset().0,
        output => {
            let mut input = vec![0.0; images.bytes().len()];
            for (image, input) in (0..).zip(input.chunks_exact_mut(images.pixels())) {
                normalisation.apply(images.image(image), input);
            }
            let n = images.len();
            let sizes = |sizes: &[usize]| IxDyn(&[&[n], sizes].concat());
            let input = Tensor::from_shape_vec(sizes(&images.shape()), input).unwrap();
            let d_output = Tensor::zeros(sizes(output.sizes()));
            let backward = engine.backward(&input, &d_output).unwrap();
            backward.output.into_raw_vec_and_offset().0
        }
    }
}

fn agrees(model: &Model, images: &Images) {
    let normalise = |image| {
        let mut input = vec![0.0; images.pixels()];
        model.normalisation.apply(images.image(image), &mut input);
        input
    };
    let input = (0..images.len()).flat_map(normalise).collect();
    let file = onnx::encode(model).unwrap();
    let onnx = by_onnx(file, images.shape(), input, model.network.output());
    let error = relative_error(&onnx, &by_reference(model, images));
    assert!(error <= TOLERANCE, "{}: {error:e}", model.network);
}

fn random(shape: [usize; 3], n: usize) -> Images {
    let count = n * shape.iter().product::<usize>();
    let bytes = (0..count as u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 24) as u8);
    Images::new(shape, Vec::from_iter(bytes)).unwrap()
}

#[test]
fn every_layer_means_the_same() {
    for text in [
        "input 1x28x28, conv2d 10 5, relu, max_pool2d 2, conv2d 20 5, relu, max_pool2d 2, flatten, linear 50, linear 10",
        "input 1x28x28, conv2d 6 5 padding=2, relu, max_pool2d 2, conv2d 16 5, relu, max_pool2d 2, flatten, linear 120, relu, linear 84, relu, linear 10",
        "input 3x11x9, conv2d 6 4x2 stride=2x1 padding=1x0, max_pool2d 3x2 stride=2x1 padding=1, conv2d 7 2x3 stride=1x2 padding=0x1, relu, max_pool2d 2x3 stride=1, flatten, linear 11, relu, linear 7",
        "input 1x6x6, flatten, dropout 0.5, linear 8, dropout 0.2, relu, linear 3, dropout 0.9",
        "input 2x5x4, conv2d 3 3 padding=1",
        "input 2x5x4, max_pool2d 3 stride=2 padding=1",
        "input 2x3x3, relu",
        "input 2x3x3, dropout 0.5, flatten",
    ] {
        let network = Network::new(&text.parse().unwrap(), None).unwrap();
        let channels = network.input()[0];
        let means = (0..channels).map(|c| 0.1 + 0.2 * c as f32).collect();
        for n in [1, 3] {
            let images = random(network.input(), n);
            let model = Model {
                parameters: initial_parameters(&network, 5),
                normalisation: Normalisation::new(Vec::clone(&means), vec![0.3; channels]).unwrap(),
                network: network.clone(),
                class_names: Vec::new(),
                trained_on: "noise".to_owned(),
            };
            agrees(&model, &images);
        }
    }
}

#[test]
fn a_network_that_does_nothing_still_has_a_graph() {
    let network = Network::new(&"input 2x3x3, dropout 0.5".parse().unwrap(), None).unwrap();
    let model = Model {
        parameters: Vec::new(),
        normalisation: Normalisation::none(2),
        network,
        class_names: Vec::new(),
        trained_on: String::new(),
    };
    let input: Vec<f32> = (0..18).map(|x| x as f32).collect();
    let file = onnx::encode(&model).unwrap();
    assert_eq!(
        by_onnx(file, [2, 3, 3], input.clone(), model.network.output()),
        input
    );
}

#[cfg(feature = "mnist")]
#[test]
fn the_trained_network_means_the_same_on_mnist() {
    let test = longhand::data::mnist().unwrap().test;
    let some = test.slice(0..200).unwrap();
    agrees(&Model::builtin().unwrap(), some.images());
}

#[test]
fn export_writes_a_file_that_is_read_elsewhere() {
    let place = Place::new();
    place.train_well();
    let assert = place.succeeds("export run/model.safetensors --onnx net.onnx");
    let said = stdout(&assert);
    assert!(
        said.starts_with("net.onnx: input (batch, 1, 8, 8) less mean ["),
        "{said}"
    );
    assert!(said.ends_with("logits (batch, 4)\n"), "{said}");
    let model = Model::open(&place.path("run/model.safetensors"), None).unwrap();
    let file = fs::read(place.path("net.onnx")).unwrap();
    assert!(file == onnx::encode(&model).unwrap());
    agrees(&model, &random([1, 8, 8], 5));
    place.succeeds("export builtin --onnx tutorial.onnx");
}

#[test]
fn export_that_fails_writes_nothing() {
    let place = Place::new();
    for (line, status, word) in [
        ("export nowhere --onnx net.onnx", 1, "nowhere: "),
        ("export net --onnx net.onnx", 1, "net: no whole safetensors"),
        (
            "export builtin --onnx nowhere/net.onnx",
            1,
            "nowhere/net.onnx: ",
        ),
        (
            "export builtin --network mlp --onnx net.onnx",
            1,
            "not of `mlp`",
        ),
        ("export builtin", 2, "--onnx"),
        ("export --onnx net.onnx", 2, "MODEL"),
    ] {
        failed(place.longhand(line).assert(), status, &[word]);
        assert_eq!(names(place.folder.path()), ["data", "net"]);
    }
}
