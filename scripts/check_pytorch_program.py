"""Runs the PyTorch programs that `longhand summary --pytorch` prints, and compares their logits on
test images with longhand's.

    pip install torch==2.13.0 safetensors numpy pillow
    cargo build --release
    python scripts/check_pytorch_program.py

Each preset is trained for one epoch on MNIST, and a network of odd strides and paddings on random
images in colour. The program is imported, loads the trained weights and computes the whole test
set; `longhand test --out` says what longhand makes of it. The error is relative,
`max|a - b| / max|b|`, and at most 1e-5. Then the program says what a picture of the first test image
shows, as a user runs it, with the probabilities of `longhand predict`. The picture has the network's
own size, because PIL and longhand round differently where they resize.
"""

import argparse
import csv
import gzip
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5

ODD = (
    "conv2d 6 4x2 stride=2x1 padding=1x0, relu, max_pool2d 3x2 stride=2x1 padding=1, "
    "conv2d 7 2x3 stride=1x2 padding=0x1, max_pool2d 2x3 stride=1 padding=1x0, flatten, dropout 0.3, "
    "linear 20, relu, linear 5"
)


def write_idx(path, elements):
    header = bytes([0, 0, 8, elements.ndim]) + numpy.array(elements.shape, ">u4").tobytes()
    path.write_bytes(header + elements.tobytes())


def write_random_data(folder):
    """Images (N, 3, 19, 14) of five classes, and the test images among them."""
    folder.mkdir()
    draw = numpy.random.default_rng(0)
    for name, count in [("train", 500), ("t10k", 200)]:
        images = draw.integers(0, 256, (count, 3, 19, 14), numpy.uint8)
        write_idx(folder / f"{name}-images-idx3-ubyte", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte", numpy.arange(count, dtype=numpy.uint8) % 5)
    return images


def mnist_test_images():
    with gzip.open(ROOT / "data/mnist/t10k-images-idx3-ubyte.gz") as file:
        return numpy.frombuffer(file.read(), numpy.uint8, offset=16).reshape(-1, 1, 28, 28)


def longhand_logits(path):
    """The columns `logit_0` and on of predictions.csv."""
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    first = header.index("logit_0")
    return torch.tensor([[float(cell) for cell in row[first:]] for row in rows])


def imported(path):
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("net", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def relative_error(found, expected):
    if found.shape != expected.shape:
        return float("nan")
    return ((found - expected).abs().max() / expected.abs().max()).item()


def check(longhand, network, data, images, folder):
    """The relative errors of the logits and of the picture's probabilities."""
    folder.mkdir()
    weights, program = folder / "run/model.safetensors", folder / "net.py"
    train = ["train", "--epochs", "1", "--quiet", "--network", network, "--out", weights.parent]
    longhand(*train, *data)
    program.write_text(longhand("summary", "--pytorch", "--model", weights))
    longhand("test", "--model", weights, "--out", folder / "test", *data)
    expected = longhand_logits(folder / "test/predictions.csv")

    module = imported(program)
    with torch.inference_mode():
        pixels = module.normalise(torch.from_numpy(images.copy()))
        logits = relative_error(module.load(weights)(pixels), expected)

    picture = folder / "picture.png"
    Image.fromarray(images[0].transpose(1, 2, 0).squeeze()).save(picture)
    answer = json.loads(longhand("predict", "--json", "--model", weights, picture))
    command = [sys.executable, program, weights, picture]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    if said.splitlines()[0] != f"{picture}: {answer['digit']}":
        sys.exit(f"longhand says that {picture} is {answer['digit']}, but the program:\n{said}")
    found = module.predict(module.load(weights), picture)
    return logits, relative_error(found, torch.tensor(answer["probabilities"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=str(ROOT / "target/release/longhand"))
    arguments = parser.parse_args()

    def longhand(*words):
        command = [arguments.program, *map(str, words)]
        result = subprocess.run(command, capture_output=True, text=True)
        return result.stdout if result.returncode == 0 else sys.exit(result.stderr)

    wrong = False
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        random, mnist = write_random_data(folder / "data"), mnist_test_images()
        print(f"PyTorch {torch.__version__}; relative errors")
        print(f"{'network':<10} {'images':>6} {'logits':>9} {'picture':>9}")
        for name in ["tutorial", "lenet5", "mlp", "odd"]:
            network, data, images = name, [], mnist
            if name == "odd":
                network, data, images = ODD, ["--data", folder / "data"], random
            logits, picture = check(longhand, network, data, images, folder / name)
            print(f"{name:<10} {len(images):>6} {logits:9.1e} {picture:9.1e}", flush=True)
            # Written so that NaN is wrong.
            wrong |= not (logits <= TOLERANCE and picture <= TOLERANCE)
    if wrong:
        sys.exit(f"an error is above {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
