//! A network as a PyTorch program that loads its weights and reads pictures.

use crate::data::Normalisation;
use crate::layers::Shape;
use crate::network::{Network, Operation};

/// The program's text: Python 3 with torch, safetensors, numpy and pillow.
///
/// Its modules have the names of the network's parameters, so that `load` takes a model's file as
/// it is. Where the network reads gray or coloured images and ends in a vector, the program also
/// says which class a picture shows: `python net.py model.safetensors picture.png`.
pub fn program(network: &Network, normalisation: &Normalisation) -> String {
    let mode = match (network.input(), network.output()) {
        ([1, ..], Shape::Features(_)) => Some("L"),
        ([3, ..], Shape::Features(_)) => Some("RGB"),
        _ => None,
    };
    let mut text = match mode {
        Some(_) => format!("\"\"\"{network}\n{USAGE}\"\"\"\n\nimport sys\n"),
        None => format!("\"\"\"{network}\"\"\"\n\n"),
    };
    let modules = modules(network);
    if modules.contains("OrderedDict") {
        text += "from collections import OrderedDict\n";
    }
    if mode.is_some() {
        text += "\nimport numpy\nimport torch\nfrom PIL import Image\n";
    } else {
        text += "\nimport torch\n";
    }
    text += "from safetensors.torch import load_file\nfrom torch import nn\n\n";
    text += "# Of each channel, pixels being from 0 to 1.\n";
    text += &format!("MEAN = {:?}\n", normalisation.mean());
    text += &format!("DEVIATION = {:?}\n", normalisation.deviation());
    if let Some(mode) = mode {
        let [_, height, width] = network.input();
        text += "# What a picture is made into: PIL's mode, width and height.\n";
        text += &format!("MODE = \"{mode}\"\nWIDTH, HEIGHT = {width}, {height}\n");
    }
    text += &format!("\n\ndef network():\n    return {modules}\n");
    text += LOAD;
    if mode.is_some() {
        text += PREDICT;
    }
    // An import without a group before it.
    text.replace("\n\n\nimport", "\n\nimport")
}

const USAGE: &str = "
    pip install torch safetensors numpy pillow
    python net.py model.safetensors picture.png [...]
";

const LOAD: &str = r#"

def load(path):
    """The network with the weights of a safetensors file."""
    net = network()
    net.load_state_dict(load_file(path), strict=True)
    return net.eval()


def normalise(pixels):
    """Bytes (N, C, H, W) as the numbers that the network reads."""
    mean, deviation = torch.tensor(MEAN), torch.tensor(DEVIATION)
    return (pixels / 255 - mean[:, None, None]) / deviation[:, None, None]
"#;

const PREDICT: &str = r#"

def read(path):
    """A picture as bytes (1, C, H, W)."""
    size = (WIDTH, HEIGHT)
    picture = Image.open(path).convert(MODE).resize(size, Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(numpy.array(picture))
    # Gray pictures have no dimension for the channel, coloured ones have it last.
    return pixels.reshape(1, HEIGHT, WIDTH, -1).permute(0, 3, 1, 2)


def predict(net, path):
    """The probability of each class."""
    with torch.inference_mode():
        return net(normalise(read(path)))[0].softmax(0)


def main(weights, *pictures):
    net = load(weights)
    for path in pictures:
        probabilities = predict(net, path)
        print(f"{path}: {probabilities.argmax()}")
        for digit, probability in enumerate(probabilities):
            print(f"  {digit}  {100 * probability:6.2f} %")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
"#;

/// The layers as an `nn.Sequential`, which holds another for each name such as `conv1` in
/// `conv1.0`.
fn modules(network: &Network) -> String {
    let names: Vec<String> = (0..network.layers().len())
        .map(|index| network.module_name(index))
        .collect();
    let lines = names.iter().zip(network.layers()).map(|(name, layer)| {
        let text = format!("{},  # {}\n", module(&layer.operation), layer.output);
        (name.split_once('.'), name, text)
    });
    if names
        .iter()
        .enumerate()
        .all(|(n, name)| *name == n.to_string())
    {
        let lines: String = lines
            .map(|(_, _, text)| format!("        {text}"))
            .collect();
        return format!("nn.Sequential(\n{lines}    )");
    }
    let mut text = "nn.Sequential(OrderedDict(\n".to_owned();
    let mut open = None;
    for (nested, name, line) in lines {
        let group = nested.map(|(group, _)| group);
        if open.is_some() && open != group {
            text += "        ),\n";
        }
        match group {
            Some(group) if open != Some(group) => {
                text += &format!("        {group}=nn.Sequential(\n            {line}");
            }
            Some(_) => text += &format!("            {line}"),
            None => text += &format!("        {name}={line}"),
        }
        open = group;
    }
    if open.is_some() {
        text += "        ),\n";
    }
    text + "    ))"
}

/// A layer as PyTorch has it.
fn module(operation: &Operation) -> String {
    match operation {
        Operation::Conv2d(conv) => {
            let (c, o, window) = (conv.in_channels, conv.out_channels, &conv.window);
            let options = options(window.stride, [1, 1], window.padding);
            format!("nn.Conv2d({c}, {o}, {}{options})", pair(window.kernel))
        }
        Operation::Relu => "nn.ReLU()".to_owned(),
        Operation::MaxPool2d(pool) => {
            let window = &pool.window;
            let options = options(window.stride, window.kernel, window.padding);
            format!("nn.MaxPool2d({}{options})", pair(window.kernel))
        }
        Operation::Flatten => "nn.Flatten()".to_owned(),
        Operation::Dropout(dropout) => format!("nn.Dropout({:?})", dropout.p),
        Operation::Linear(linear) => {
            format!("nn.Linear({}, {})", linear.in_features, linear.out_features)
        }
    }
}

/// A window's stride and padding, where they are not PyTorch's defaults.
fn options(stride: [usize; 2], default_stride: [usize; 2], padding: [usize; 2]) -> String {
    let mut options = String::new();
    if stride != default_stride {
        options += &format!(", stride={}", pair(stride));
    }
    if padding != [0, 0] {
        options += &format!(", padding={}", pair(padding));
    }
    options
}

/// Height and width: `5`, or `(5, 3)` where they differ.
fn pair([height, width]: [usize; 2]) -> String {
    if height == width {
        height.to_string()
    } else {
        format!("({height}, {width})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::presets::TUTORIAL;

    fn of(text: &str) -> String {
        let network = Network::new(&text.parse().unwrap(), None).unwrap();
        program(&network, &Normalisation::none(network.input()[0]))
    }

    #[test]
    fn the_tutorials_network_has_the_tutorials_names() {
        let network = Network::new(&TUTORIAL.description(10), Some([1, 28, 28])).unwrap();
        let text = program(&network, &Normalisation::mnist());
        let expected = r#"
import sys
from collections import OrderedDict

import numpy
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

# Of each channel, pixels being from 0 to 1.
MEAN = [0.1307]
DEVIATION = [0.3081]
# What a picture is made into: PIL's mode, width and height.
MODE = "L"
WIDTH, HEIGHT = 28, 28


def network():
    return nn.Sequential(OrderedDict(
        conv1=nn.Sequential(
            nn.Conv2d(1, 10, 5),  # 10x24x24
            nn.ReLU(),  # 10x24x24
            nn.MaxPool2d(2),  # 10x12x12
        ),
        conv2=nn.Sequential(
            nn.Conv2d(10, 20, 5),  # 20x8x8
            nn.ReLU(),  # 20x8x8
            nn.MaxPool2d(2),  # 20x4x4
        ),
        flatten=nn.Flatten(),  # 320
        fc=nn.Sequential(
            nn.Linear(320, 50),  # 50
            nn.Linear(50, 10),  # 10
        ),
    ))


def load(path):
"#;
        assert!(text.contains(expected), "{text}");
        assert!(text.starts_with(&format!("\"\"\"{network}\n")), "{text}");
    }

    #[test]
    fn strides_and_paddings_are_written_where_they_are_not_pytorchs_defaults() {
        let text = of(
            "input 3x20x18, conv2d 4 5x3 stride=1x2 padding=2x1, max_pool2d 3x2 stride=1 \
             padding=1, conv2d 5 3 padding=1, max_pool2d 2, flatten, dropout 0.5, linear 6",
        );
        let expected = "
    return nn.Sequential(
        nn.Conv2d(3, 4, (5, 3), stride=(1, 2), padding=(2, 1)),  # 4x20x9
        nn.MaxPool2d((3, 2), stride=1, padding=1),  # 4x20x10
        nn.Conv2d(4, 5, 3, padding=1),  # 5x20x10
        nn.MaxPool2d(2),  # 5x10x5
        nn.Flatten(),  # 250
        nn.Dropout(0.5),  # 250
        nn.Linear(250, 6),  # 6
    )
";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("MEAN = [0.0, 0.0, 0.0]\n"), "{text}");
        assert!(text.contains("MODE = \"RGB\"\nWIDTH, HEIGHT = 18, 20\n"));
    }

    #[test]
    fn a_program_reads_pictures_only_where_the_network_can() {
        assert!(of("input 1x4x4, flatten, linear 2").contains("def main("));
        for network in ["input 2x4x4, flatten, linear 2", "input 1x4x4, conv2d 2 3"] {
            let text = of(network);
            assert!(text.contains("def load("), "{text}");
            assert!(text.contains("\"\"\"\n\nimport torch\n"), "{text}");
            for word in ["main", "PIL", "numpy", "sys", "MODE"] {
                assert!(!text.contains(word), "{word} in {text}");
            }
        }
    }
}
