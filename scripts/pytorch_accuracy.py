"""Trains the tutorial's network in PyTorch with the tutorial's settings, and prints its test
accuracies: what `scripts/accuracy.py` is held against.

    pip install torch==2.13.0 numpy
    python scripts/pytorch_accuracy.py [--seeds 3] [--data /usr/share/datasets/fashion-mnist]

`--data` is a folder with four IDX files, gzipped; the default is MNIST. Pixels are normalised by
the mean and deviation of the training images, of four decimals, as longhand does.
"""

import argparse
import gzip
import pathlib
import statistics

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

ROOT = pathlib.Path(__file__).resolve().parent.parent
EPOCHS = 5


def read(folder, name, offset):
    """The elements of an IDX file behind its header."""
    contents = gzip.decompress((folder / f"{name}.gz").read_bytes())
    return torch.tensor(np.frombuffer(contents, np.uint8, offset=offset))


def examples(folder, part):
    images = read(folder, f"{part}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    return images / 255, read(folder, f"{part}-labels-idx1-ubyte", 8).long()


def network():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Sequential(nn.Linear(320, 50), nn.Linear(50, 10)),
    )


def train(images, labels, seed):
    torch.manual_seed(seed)
    net = network()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(32):
            optimiser.zero_grad()
            cross_entropy(net(images[batch]), labels[batch]).backward()
            optimiser.step()
    return net.eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "data" / "mnist")
    arguments = parser.parse_args()
    images, labels = examples(arguments.data, "train")
    mean, deviation = round(float(images.mean()), 4), round(float(images.std()), 4)
    images = (images - mean) / deviation
    test_images, test_labels = examples(arguments.data, "t10k")
    test_images = (test_images - mean) / deviation
    accuracies = []
    for seed in range(arguments.seeds):
        net = train(images, labels, seed)
        with torch.inference_mode():
            right = net(test_images).argmax(1) == test_labels
        accuracies.append(100 * right.float().mean().item())
        print(f"seed {seed}: {accuracies[-1]:.2f} %", flush=True)
    print(f"mean {statistics.mean(accuracies):.2f} %, lowest {min(accuracies):.2f} %")


if __name__ == "__main__":
    main()
