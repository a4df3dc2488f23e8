"""Trains the tutorial's network with longhand and with PyTorch, side by side, and prints how many
times faster longhand is.

    pip install torch==2.13.0 numpy
    cargo build --release
    python scripts/compare_pytorch.py [--rounds 5] [--engine im2col]

Each round trains one epoch on MNIST (60,000 images, batch 32, SGD lr 0.01 momentum 0.5) with the
one, then with the other; the machine's load moves both. Both use all cores. PyTorch runs eagerly
with the whole data set in memory, normalised before the clock starts, and one index operation a
batch; for longhand the epoch's own `seconds` count, in which images are gathered and normalised.
The median of the rounds' ratios is what to quote.
"""

import argparse
import gzip
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy
import torch
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent


def idx(name):
    """The elements of an IDX file of bytes, as a tensor."""
    with gzip.open(ROOT / "data/mnist" / f"{name}.gz") as file:
        contents = file.read()
    dimensions = contents[3]
    sizes = numpy.frombuffer(contents, ">u4", dimensions, 4).astype(int)
    elements = numpy.frombuffer(contents, numpy.uint8, offset=4 + 4 * dimensions)
    return torch.from_numpy(elements.reshape(sizes).copy())


class PyTorch:
    """The tutorial's network and data in PyTorch."""

    def __init__(self):
        torch.manual_seed(0)
        self.images = idx("train-images-idx3-ubyte")[:, None].float().div(255).sub(0.1307).div(0.3081)
        self.labels = idx("train-labels-idx1-ubyte").long()
        self.network = nn.Sequential(
            nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(320, 50), nn.Linear(50, 10),
        )
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.5)
        self.loss = nn.CrossEntropyLoss()

    def train(self, images):
        """Seconds to train on so many images."""
        order = torch.randperm(len(self.images))[:images]
        start = time.perf_counter()
        for batch in order.split(32):
            self.optimiser.zero_grad()
            loss = self.loss(self.network(self.images[batch]), self.labels[batch])
            loss.backward()
            self.optimiser.step()
        return time.perf_counter() - start


def longhand(program, engine):
    """Seconds that longhand takes for an epoch."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "train", "--epochs", "1", "--json", "--quiet", "--engine", engine]
        result = subprocess.run(
            [*command, "--out", f"{folder}/run"], check=True, capture_output=True, text=True
        )
    return json.loads(result.stdout)["seconds"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", default="im2col")
    parser.add_argument("--program", default=str(ROOT / "target/release/longhand"))
    arguments = parser.parse_args()

    pytorch = PyTorch()
    pytorch.train(6_400)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads; seconds an epoch")
    print(f"{'round':>5} {'longhand':>9} {'PyTorch':>9} {'ratio':>6}")
    rows = []
    for number in range(1, arguments.rounds + 1):
        ours, theirs = longhand(arguments.program, arguments.engine), pytorch.train(60_000)
        rows.append((ours, theirs, theirs / ours))
        print(f"{number:>5} {ours:9.2f} {theirs:9.2f} {theirs / ours:6.2f}")
    ours, theirs, ratio = (statistics.median(column) for column in zip(*rows))
    print(f"{'median':>5} {ours:8.2f} {theirs:9.2f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
