//! Networks: as text both ways, which of them exist, their parameters' names and first values.

use longhand::layers::{MAX_ELEMENTS, Misfit, Shape, Window};
use longhand::network::initialisation::initial_parameters;
use longhand::network::text::TextFault;
use longhand::network::{
    Description, LayerText, MAX_LAYERS, Network, NetworkError, Preset, TextError,
};
use longhand::tensor::Element;
use proptest::array::uniform2;
use proptest::collection::vec;
use proptest::prelude::*;

const MAX: usize = usize::MAX;

fn parse(text: &str) -> Result<Description, TextError> {
    text.parse()
}

fn build(text: &str) -> Result<Network, NetworkError> {
    Network::new(&parse(text)?, None)
}

fn preset(name: &str) -> Preset {
    Preset::named(name).unwrap()
}

fn for_mnist(name: &str) -> Network {
    Network::new(&preset(name).description(10), Some([1, 28, 28])).unwrap()
}

/// Layers of sizes that `size` gives, fitting or not.
fn layers(
    size: impl Strategy<Value = usize> + Clone + 'static,
) -> impl Strategy<Value = Vec<LayerText>> {
    let window = [(); 3].map(|()| uniform2(size.clone()));
    let window = window.prop_map(|[kernel, stride, padding]| Window {
        kernel,
        stride,
        padding,
    });
    let conv2d =
        (size.clone(), window.clone()).prop_map(|(out_channels, window)| LayerText::Conv2d {
            out_channels,
            window,
        });
    let layer = prop_oneof![
        conv2d,
        Just(LayerText::Relu),
        window.prop_map(|window| LayerText::MaxPool2d { window }),
        Just(LayerText::Flatten),
        size.prop_map(|out_features| LayerText::Linear { out_features }),
        (0.0..1.0).prop_map(|p| LayerText::Dropout { p }),
    ];
    vec(layer, 0..8)
}

/// Sizes of real layers, and now and then one at which a sum or a product overflows.
fn any_size() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![
        60 => 0_usize..=4,
        1 => prop::sample::select(vec![1 << 27, 1 << 31, 1 << 32, MAX / 4, MAX / 2]),
        1 => (MAX - 64)..=MAX,
        1 => (MAX / 2 - 32)..=(MAX / 2 + 1),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_network_is_read_as_it_was_written(
        input in proptest::option::of([any_size(), any_size(), any_size()]),
        layers in layers(any_size()),
    ) {
        let description = Description { input, layers };
        prop_assert_eq!(parse(&description.to_string())?, description);
    }

    #[test]
    fn commas_lines_spaces_and_comments_mean_the_same(
        layers in layers(0_usize..9),
        separators in vec(
            prop::sample::select(
                vec![",", "\n", "\r\n", " ,\t", ",,\n,", " # a, b\n", "\n#relu\n"]
            ),
            8,
        ),
    ) {
        let mut text = String::from("# a network\n input  1x28x28 ");
        for (layer, separator) in layers.iter().zip(separators) {
            text += separator;
            text += &layer.to_string().replace(' ', "  ");
        }
        let description = Description { input: Some([1, 28, 28]), layers };
        prop_assert_eq!(parse(&text)?, description);
    }

    #[test]
    fn random_text_never_panics(
        text in "(input|conv2d|relu|max_pool2d|linear|stride=|padding=|[0-9x =,#\n]){0,20}",
    ) {
        if let Ok(description) = parse(&text) {
            prop_assert_eq!(parse(&description.to_string())?, description);
        }
    }

    #[test]
    fn layers_of_any_size_are_a_network_within_the_limits_or_an_error(
        input in [any_size(), any_size(), any_size()],
        layers in layers(any_size()),
    ) {
        let description = Description { input: Some(input), layers };
        if let Ok(network) = Network::new(&description, None) {
            let mut activations: usize = network.input().iter().product();
            for layer in network.layers() {
                activations += layer.output.sizes().iter().product::<usize>();
            }
            prop_assert!(activations <= MAX_ELEMENTS);
            prop_assert!(network.parameter_count() <= MAX_ELEMENTS);
            prop_assert!(network.training_flops() >= network.forward_flops());
            assert_parameters_fill_the_flat_vector(&network);
            let again = build(&network.to_string())?;
            prop_assert_eq!(again, network);
        }
    }
}

fn assert_parameters_fill_the_flat_vector(network: &Network) {
    let mut end = 0;
    for parameter in network.parameters() {
        assert_eq!(parameter.range.start, end, "{}", parameter.name);
        let count: usize = parameter.shape.iter().product();
        assert_eq!(parameter.range.len(), count, "{}", parameter.name);
        end = parameter.range.end;
    }
    assert_eq!(network.parameter_count(), end);
}

#[test]
fn a_known_text_is_the_network_that_it_says() {
    let text =
        "input 3x32x30, conv2d 10 5x3 stride=2x1 padding=1, relu, max_pool2d 2, flatten, linear 7";
    let description = Description {
        input: Some([3, 32, 30]),
        layers: vec![
            LayerText::Conv2d {
                out_channels: 10,
                window: Window {
                    kernel: [5, 3],
                    stride: [2, 1],
                    padding: [1, 1],
                },
            },
            LayerText::Relu,
            LayerText::MaxPool2d {
                window: Window {
                    kernel: [2, 2],
                    stride: [2, 2],
                    padding: [0, 0],
                },
            },
            LayerText::Flatten,
            LayerText::Linear { out_features: 7 },
        ],
    };
    assert_eq!(parse(text).unwrap(), description);
    assert_eq!(description.to_string(), text);

    let network = build(text).unwrap();
    let outputs: Vec<String> = (network.layers().iter())
        .map(|layer| layer.output.to_string())
        .collect();
    assert_eq!(outputs, ["10x15x30", "10x15x30", "10x7x15", "1050", "7"]);
    assert_eq!(network.output(), Shape::Features(7));
    assert_eq!(network.to_string(), text);
}

#[test]
fn strides_default_to_1_for_conv2d_and_to_the_kernel_for_max_pool2d() {
    let default = parse("conv2d 1 3x2, max_pool2d 3x2").unwrap();
    let written = parse("conv2d 1 3x2 padding=0 stride=1, max_pool2d 3x2 stride=3x2 padding=0x0");
    assert_eq!(written.unwrap(), default);
    assert_eq!(default.to_string(), "conv2d 1 3x2, max_pool2d 3x2");
    let other = "max_pool2d 3 stride=1";
    assert_eq!(parse(other).unwrap().to_string(), other);
}

#[test]
fn text_without_layers_is_an_empty_description() {
    let empty = Description {
        input: None,
        layers: vec![],
    };
    for text in ["", " \n\t", ",,\n,", "# relu, flatten"] {
        assert_eq!(parse(text).unwrap(), empty, "{text:?}");
    }
}

#[test]
fn each_text_that_is_no_network_says_which_layer_and_why() {
    let usage = |text| TextFault::Usage(text);
    let number = |text: &str| TextFault::Number(text.to_owned());
    let input = |text: &str| TextFault::Input(text.to_owned());
    let option = |text: &str| TextFault::Option(text.to_owned());
    let unknown = |text: &str| TextFault::Unknown(text.to_owned());
    let conv2d = usage("conv2d O K [stride=S] [padding=P]");
    let max_pool2d = usage("max_pool2d K [stride=S] [padding=P]");
    let too_big = "99999999999999999999";
    let too_big_input = format!("input 1x1x{too_big}");
    let too_big_linear = format!("linear {too_big}");

    let share = |text: &str| TextFault::Share(text.to_owned());

    let cases: [(&str, usize, &str, TextFault); 40] = [
        ("dropout", 1, "dropout", usage("dropout SHARE")),
        ("relu, dropout half", 2, "dropout half", share("half")),
        (
            "dropout 0.5 0.5",
            1,
            "dropout 0.5 0.5",
            usage("dropout SHARE"),
        ),
        ("relu, softmax 3", 2, "softmax 3", unknown("softmax")),
        ("Relu", 1, "Relu", unknown("Relu")),
        ("relu relu", 1, "relu relu", usage("relu")),
        ("flatten 1", 1, "flatten 1", usage("flatten")),
        ("linear", 1, "linear", usage("linear O")),
        ("linear 1 2", 1, "linear 1 2", usage("linear O")),
        ("conv2d", 1, "conv2d", conv2d.clone()),
        ("relu\nconv2d 3", 2, "conv2d 3", conv2d),
        ("max_pool2d", 1, "max_pool2d", max_pool2d),
        ("linear ten", 1, "linear ten", number("ten")),
        ("linear -1", 1, "linear -1", number("-1")),
        ("linear 1.5", 1, "linear 1.5", number("1.5")),
        ("linear 5x3", 1, "linear 5x3", number("5x3")),
        (&too_big_linear, 1, &too_big_linear, number(too_big)),
        ("conv2d 5x3 5", 1, "conv2d 5x3 5", number("5x3")),
        ("conv2d 3 five", 1, "conv2d 3 five", number("five")),
        ("conv2d 3 5x", 1, "conv2d 3 5x", number("5x")),
        ("conv2d 3 x5", 1, "conv2d 3 x5", number("x5")),
        ("conv2d 3 5x3x1", 1, "conv2d 3 5x3x1", number("5x3x1")),
        ("max_pool2d two", 1, "max_pool2d two", number("two")),
        ("conv2d 3 5 stride=", 1, "conv2d 3 5 stride=", number("")),
        (
            "max_pool2d 2 padding=a",
            1,
            "max_pool2d 2 padding=a",
            number("a"),
        ),
        ("conv2d 3 5 2", 1, "conv2d 3 5 2", option("2")),
        (
            "conv2d 3 5 dilation=2",
            1,
            "conv2d 3 5 dilation=2",
            option("dilation=2"),
        ),
        (
            "conv2d 3 5 stride=1 stride=2",
            1,
            "conv2d 3 5 stride=1 stride=2",
            option("stride=2"),
        ),
        (
            "max_pool2d 2 padding=1 stride=1 padding=1",
            1,
            "max_pool2d 2 padding=1 stride=1 padding=1",
            option("padding=1"),
        ),
        ("max_pool2d 2 2", 1, "max_pool2d 2 2", option("2")),
        ("input", 0, "input", input("")),
        ("input 28", 0, "input 28", input("28")),
        ("input 28x28", 0, "input 28x28", input("28x28")),
        ("input 1x1x1x1", 0, "input 1x1x1x1", input("1x1x1x1")),
        ("input 1x-2x3", 0, "input 1x-2x3", input("1x-2x3")),
        ("input 1 x2x3", 0, "input 1 x2x3", input("1 x2x3")),
        (
            &too_big_input,
            0,
            &too_big_input,
            input(&too_big_input["input ".len()..]),
        ),
        (
            "input 1x2x3, input 1x2x3",
            0,
            "input 1x2x3",
            TextFault::InputPlace,
        ),
        (
            "# nothing\n\n, input1x2x3",
            1,
            "input1x2x3",
            unknown("input1x2x3"),
        ),
        (
            "relu, # softmax\n flatten,\n\nLINEAR 3",
            3,
            "LINEAR 3",
            unknown("LINEAR"),
        ),
    ];
    for (text, number, layer, fault) in cases {
        let error = parse(text).unwrap_err();
        let expected = TextError {
            number,
            text: layer.to_owned(),
            fault,
        };
        assert_eq!(error, expected, "{text:?}");
        let message = error.to_string();
        let start = format!("layer {number} ({layer}): ");
        assert!(message.starts_with(&start), "{message}");
        // A text that cannot be read is no network either, for the same reason.
        assert_eq!(build(text), Err(NetworkError::Text(error)));
    }
}

#[test]
fn input_stands_before_all_layers() {
    let error = parse("relu, input 1x2x3").unwrap_err();
    assert_eq!(error.fault, TextFault::InputPlace);
    assert_eq!(error.text, "input 1x2x3");
}

#[test]
fn the_input_is_the_texts_or_the_datas_and_both_must_agree() {
    let named = parse("input 1x2x3, relu").unwrap();
    let unnamed = parse("relu").unwrap();
    let (same, other) = ([1, 2, 3], [1, 3, 2]);
    let network = Network::new(&named, None).unwrap();
    assert_eq!(network.input(), same);
    assert_eq!(Network::new(&named, Some(same)).unwrap(), network);
    assert_eq!(Network::new(&unnamed, Some(same)).unwrap(), network);
    assert_eq!(network.to_string(), "input 1x2x3, relu");
    assert_eq!(Network::new(&unnamed, None), Err(NetworkError::NoInput));
    let disagree = NetworkError::OtherInput {
        named: same,
        given: other,
    };
    assert_eq!(Network::new(&named, Some(other)), Err(disagree));
}

#[test]
fn an_input_has_pixels_but_not_too_many() {
    let relu = parse("relu").unwrap();
    for input in [
        [0, 1, 1],
        [1, 0, 1],
        [1, 1, 0],
        [MAX, MAX, 0],
        [1, 1, MAX_ELEMENTS + 1],
        [MAX, 1, 1],
        [1 << 32, 1 << 32, 1],
        [MAX, MAX, MAX],
    ] {
        let error = Network::new(&relu, Some(input)).unwrap_err();
        assert_eq!(error, NetworkError::Input(input));
    }
}

#[test]
fn a_network_has_1_to_1000_layers() {
    assert_eq!(build("input 1x2x3"), Err(NetworkError::Empty));
    let relus = |count| Description {
        input: Some([1, 2, 3]),
        layers: vec![LayerText::Relu; count],
    };
    let most = Network::new(&relus(MAX_LAYERS), None).unwrap();
    assert_eq!(most.layers().len(), MAX_LAYERS);
    let error = Network::new(&relus(MAX_LAYERS + 1), None).unwrap_err();
    assert_eq!(error, NetworkError::TooManyLayers(MAX_LAYERS + 1));
}

#[test]
fn each_layer_that_does_not_fit_says_why() {
    let half = MAX / 2;
    let kernel = |kernel, padded| Misfit::Kernel { kernel, padded };
    let pool_padding = |padding, kernel| Misfit::PoolPadding { padding, kernel };
    let columns = Misfit::TooLarge("matrix of columns");
    let padded = Misfit::TooLarge("padded input");
    let weight = Misfit::TooLarge("weight");
    let features = "flatten, ";

    let cases: [(&str, String, Misfit); 35] = [
        ("", "dropout 1".into(), Misfit::Probability(1.0)),
        ("", "dropout -0.1".into(), Misfit::Probability(-0.1)),
        ("", "dropout inf".into(), Misfit::Probability(f64::INFINITY)),
        (
            "",
            "conv2d 0 5".into(),
            Misfit::Zero("the number of output channels"),
        ),
        ("", "conv2d 1 0".into(), Misfit::Zero("the kernel")),
        ("", "conv2d 1 5x0".into(), Misfit::Zero("the kernel")),
        (
            "",
            "conv2d 1 5 stride=0x1".into(),
            Misfit::Zero("the stride"),
        ),
        ("", "max_pool2d 0x2".into(), Misfit::Zero("the kernel")),
        (
            "",
            "max_pool2d 4097 padding=2048".into(),
            Misfit::PoolKernel,
        ),
        (
            "",
            "max_pool2d 2 stride=0".into(),
            Misfit::Zero("the stride"),
        ),
        (
            features,
            "linear 0".into(),
            Misfit::Zero("the number of output features"),
        ),
        ("", "conv2d 1 29x5".into(), kernel([29, 5], [28, 28])),
        (
            "",
            "conv2d 1 5x31 padding=1".into(),
            kernel([5, 31], [30, 30]),
        ),
        ("", "max_pool2d 29".into(), kernel([29, 29], [28, 28])),
        (
            "",
            "max_pool2d 2x3 padding=2x1".into(),
            pool_padding([2, 1], [2, 3]),
        ),
        (
            "",
            "max_pool2d 3 padding=1x2".into(),
            pool_padding([1, 2], [3, 3]),
        ),
        (features, "conv2d 1 5".into(), Misfit::NeedsImage),
        (features, "max_pool2d 2".into(), Misfit::NeedsImage),
        ("", "linear 10".into(), Misfit::NeedsFeatures),
        // Each below makes some sum or product that 64 bits cannot hold, or just too large.
        ("", format!("conv2d {MAX} 5"), weight.clone()),
        ("", format!("conv2d {} 1", MAX_ELEMENTS + 1), weight.clone()),
        (
            "",
            format!("conv2d {} 1", MAX_ELEMENTS),
            Misfit::TooLarge("output"),
        ),
        ("", format!("conv2d 1 {MAX}"), kernel([MAX, MAX], [28, 28])),
        ("", format!("conv2d 1 1 padding={MAX}"), padded.clone()),
        ("", format!("conv2d 1 1 padding={half}"), padded.clone()),
        (
            "",
            format!("conv2d 1 1 padding={}", half - 14),
            padded.clone(),
        ),
        (
            "",
            format!("conv2d 1 1 padding=0x{}", half - 14),
            padded.clone(),
        ),
        ("", "conv2d 1 300 padding=300".into(), columns),
        (
            "",
            format!("conv2d 1 {MAX} padding={}", half - 14),
            padded.clone(),
        ),
        (
            "",
            format!("conv2d 1 {0} padding={1}", MAX - 1, half - 14),
            padded.clone(),
        ),
        (
            "",
            "max_pool2d 2000000000 padding=1000000000".into(),
            padded.clone(),
        ),
        ("", format!("max_pool2d {MAX} padding={half}"), padded),
        (
            "",
            format!("max_pool2d {MAX}"),
            kernel([MAX, MAX], [28, 28]),
        ),
        (features, format!("linear {MAX}"), weight.clone()),
        (
            features,
            format!("linear {}", MAX_ELEMENTS / 784 + 1),
            weight,
        ),
    ];
    for (before, text, misfit) in cases {
        let (number, input) = match before {
            "" => (1, Shape::Image([1, 28, 28])),
            _ => (2, Shape::Features(784)),
        };
        let error = build(&format!("input 1x28x28, {before}{text}")).unwrap_err();
        let message = error.to_string();
        let start = format!("layer {number} ({text}) does not fit its input {input}: ");
        assert!(message.starts_with(&start), "{message}");
        let expected = NetworkError::Layer {
            number,
            text,
            input,
            misfit,
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn max_pool2d_has_no_more_outputs_than_a_tensor_may_have() {
    // As many windows as pixels, and a row and a column more.
    let error = build("input 2x8192x8192, max_pool2d 2 stride=1 padding=1").unwrap_err();
    let expected = NetworkError::Layer {
        number: 1,
        text: "max_pool2d 2 stride=1 padding=1".into(),
        input: Shape::Image([2, 8192, 8192]),
        misfit: Misfit::TooLarge("output"),
    };
    assert_eq!(error, expected);
}

#[test]
fn a_stride_beyond_the_image_leaves_one_window() {
    let text = format!("input 1x28x28, conv2d 3 5 stride={MAX_ELEMENTS}, max_pool2d 1 stride=2");
    let network = build(&text).unwrap();
    assert_eq!(network.output(), Shape::Image([3, 1, 1]));
    for layer in ["conv2d 3 5", "max_pool2d 5"] {
        let error = build(&format!("input 1x28x28, {layer} stride={MAX}")).unwrap_err();
        let NetworkError::Layer { misfit, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(misfit, Misfit::Stride);
    }
}

#[test]
fn the_columns_of_all_convolutions_together_are_limited() {
    let layers = ["conv2d 1 100 padding=50"; 80].join(", ");
    let error = build(&format!("input 1x28x28, {layers}")).unwrap_err();
    // Images of 128 x 128, 228 x 228, and so on, with as many columns.
    let expected = NetworkError::TooLarge {
        number: 12,
        what: "activations and columns",
    };
    assert_eq!(error, expected);
}

#[test]
fn all_activations_together_are_limited() {
    // 2^26 elements each, the input's among them.
    assert!(build("input 1x8192x8192, relu").is_ok());
    let error = build("input 1x8192x8192, relu, relu").unwrap_err();
    let expected = NetworkError::TooLarge {
        number: 2,
        what: "activations and columns",
    };
    assert_eq!(error, expected);
}

#[test]
fn all_parameters_together_are_limited() {
    // 2^26 weights each, and the biases.
    assert!(build("input 1x1x8192, flatten, linear 8192").is_ok());
    let error = build("input 1x1x8192, flatten, linear 8192, linear 8192").unwrap_err();
    let expected = NetworkError::TooLarge {
        number: 3,
        what: "parameters",
    };
    assert_eq!(error, expected);
}

#[test]
fn a_classifier_ends_in_a_vector_with_a_number_for_each_class() {
    let network = build("input 1x2x3, flatten, linear 10").unwrap();
    assert_eq!(network.check_classes(10), Ok(()));
    assert_eq!(network.check_classes(3), Ok(()));
    let few = NetworkError::Classes {
        output: Shape::Features(10),
        classes: 11,
    };
    assert_eq!(network.check_classes(11), Err(few));
    let image = NetworkError::Classes {
        output: Shape::Image([1, 2, 3]),
        classes: 2,
    };
    let network = build("input 1x2x3, relu").unwrap();
    assert_eq!(network.check_classes(2), Err(image));
}

#[test]
fn presets_have_the_parameters_that_they_are_known_for() {
    for (name, count) in [("tutorial", 21_840), ("lenet5", 61_706), ("mlp", 101_770)] {
        let network = for_mnist(name);
        assert_eq!(network.parameter_count(), count, "{name}");
        assert_eq!(network.output(), Shape::Features(10), "{name}");
        assert_parameters_fill_the_flat_vector(&network);
    }
    let names = Preset::ALL.map(|preset| preset.name);
    assert_eq!(names, ["tutorial", "lenet5", "mlp"]);
    assert_eq!(Preset::named("resnet"), None);
}

#[test]
fn a_preset_matches_itself_for_any_classes_and_no_other() {
    for preset in Preset::ALL {
        for other in Preset::ALL {
            let same = preset.name == other.name;
            assert_eq!(preset.matches(&other.description(62)), same);
        }
        assert!(!preset.matches(&parse("relu").unwrap()));
        assert!(!preset.matches(&parse("").unwrap()));
    }
}

#[test]
fn the_tutorials_parameters_have_pytorchs_names_and_shapes() {
    let network = for_mnist("tutorial");
    let found: Vec<(&str, &[usize])> = (network.parameters().iter())
        .map(|parameter| (&*parameter.name, &*parameter.shape))
        .collect();
    let expected: [(&str, &[usize]); 8] = [
        ("conv1.0.weight", &[10, 1, 5, 5]),
        ("conv1.0.bias", &[10]),
        ("conv2.0.weight", &[20, 10, 5, 5]),
        ("conv2.0.bias", &[20]),
        ("fc.0.weight", &[50, 320]),
        ("fc.0.bias", &[50]),
        ("fc.1.weight", &[10, 50]),
        ("fc.1.bias", &[10]),
    ];
    assert_eq!(found, expected);
}

fn names(network: &Network) -> Vec<&str> {
    let parameters = network.parameters().iter();
    parameters.map(|parameter| &*parameter.name).collect()
}

#[test]
fn the_tutorial_keeps_its_names_for_other_classes_and_images() {
    let letters = preset("tutorial").description(62);
    let network = Network::new(&letters, Some([3, 32, 32])).unwrap();
    assert_eq!(names(&network), names(&for_mnist("tutorial")));
}

#[test]
fn other_networks_parameters_are_named_by_their_layers_indices() {
    let lenet5 = for_mnist("lenet5");
    let expected = [
        "0.weight",
        "0.bias",
        "3.weight",
        "3.bias",
        "7.weight",
        "7.bias",
        "9.weight",
        "9.bias",
        "11.weight",
        "11.bias",
    ];
    assert_eq!(names(&lenet5), expected);
    let mlp = for_mnist("mlp");
    assert_eq!(names(&mlp), ["1.weight", "1.bias", "3.weight", "3.bias"]);

    // The tutorial's network but for one number is another network.
    let text = preset("tutorial").description(10).to_string();
    let other = parse(&text.replace("linear 50", "linear 51")).unwrap();
    let other = Network::new(&other, Some([1, 28, 28])).unwrap();
    assert_eq!(names(&other)[..2], ["0.weight", "0.bias"]);
    assert_eq!(names(&other)[6..], ["8.weight", "8.bias"]);
}

#[test]
fn flops_are_those_of_the_products() {
    let network = build("input 2x4x5, conv2d 3 2, relu, flatten, linear 7").unwrap();
    // Two for each weight and each place that it is used in.
    let conv2d = 2 * (3 * 2 * 2 * 2) * (3 * 4);
    let linear = 2 * 7 * (3 * 3 * 4);
    assert_eq!(network.forward_flops(), conv2d + linear);
    // Nothing needs the gradient of the image.
    assert_eq!(network.training_flops(), 2 * conv2d + 3 * linear);
}

#[test]
fn initial_parameters_are_uniform_within_one_over_the_root_of_fan_in() {
    for preset in Preset::ALL {
        let network = for_mnist(preset.name);
        let parameters: Vec<f64> = initial_parameters(&network, 1);
        for pair in network.parameters().chunks(2) {
            // A weight's shape is outputs first; its bias has the same fan-in.
            let fan_in: usize = pair[0].shape[1..].iter().product();
            let bound = 1.0 / (fan_in as f64).sqrt();
            for parameter in pair {
                assert_uniform(&parameters[parameter.range.clone()], bound, &parameter.name);
            }
        }
    }
}

/// Holds `values` against the uniform distribution on `[-bound, bound]`: its moments within five
/// standard deviations of what as many draws give.
fn assert_uniform(values: &[f64], bound: f64, name: &str) {
    // A draw may be rounded to the bound, but in f32 no further.
    let largest = f64::from(bound as f32);
    assert!(values.iter().all(|v| v.abs() <= largest), "{name}: bound");
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let tolerance = 5.0 * bound / (3.0 * count).sqrt();
    assert!(
        mean.abs() <= tolerance,
        "{name}: the mean is {mean}, not 0 within {tolerance}"
    );
    let square = values.iter().map(|v| v * v).sum::<f64>() / count;
    let expected = bound * bound / 3.0;
    // The variance of a square: bound^4 (1/5 - 1/9).
    let tolerance = 5.0 * bound * bound * (4.0 / 45.0 / count).sqrt();
    assert!(
        (square - expected).abs() <= tolerance,
        "{name}: the mean square is {square}, not {expected} within {tolerance}"
    );
}

#[test]
fn initial_parameters_are_the_same_in_both_precisions_and_differ_by_seed() {
    let network = for_mnist("tutorial");
    let singles: Vec<f32> = initial_parameters(&network, 7);
    let doubles: Vec<f64> = initial_parameters(&network, 7);
    assert_eq!(singles.len(), network.parameter_count());
    assert!(singles.iter().map(|s| s.as_f64()).eq(doubles));
    assert_eq!(singles, initial_parameters::<f32>(&network, 7));
    assert_ne!(singles, initial_parameters::<f32>(&network, 8));
}

#[test]
fn a_layer_keeps_its_first_parameters_when_another_changes() {
    let ten = for_mnist("tutorial");
    let more = Network::new(&preset("tutorial").description(62), Some([1, 28, 28])).unwrap();
    let first: Vec<f32> = initial_parameters(&ten, 7);
    let second: Vec<f32> = initial_parameters(&more, 7);
    let unchanged = 0..ten.layers()[8].weight.start;
    assert_eq!(first[unchanged.clone()], second[unchanged]);
    // Layers draw from streams of their own: not the same numbers, each within its own bound.
    let [conv1, conv2] = [0, 3].map(|index| ten.layers()[index].weight.start);
    let difference = first[conv1] * 25_f32.sqrt() - first[conv2] * 250_f32.sqrt();
    assert!(difference.abs() > 1e-3, "{difference}");
}
