"""What longhand is measured against: the tutorial's network in PyTorch and in JAX.

scripts/benchmarks.py starts this file with a Python that has torch, and asks it for one
measurement a line, as in ["train", 32]; each is answered by a line, {"value": 4.27} or
{"error": "…"}. Between the lines it waits and costs nothing, so that longhand can be measured in
turn with it.
"""

import gzip
import importlib
import json
import pathlib
import platform
import statistics
import sys
import tempfile
import time

import numpy
import torch
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent


def idx(name):
    """The elements of an IDX file of bytes."""
    with gzip.open(ROOT / "data/mnist" / f"{name}.gz") as file:
        contents = file.read()
    dimensions = contents[3]
    sizes = numpy.frombuffer(contents, ">u4", dimensions, 4).astype(int)
    elements = numpy.frombuffer(contents, numpy.uint8, offset=4 + 4 * dimensions)
    return elements.reshape(sizes).copy()


def images(name):
    """The images of an IDX file, normalised as the tutorial does."""
    return ((idx(name)[:, None] / numpy.float32(255) - 0.1307) / 0.3081).astype(numpy.float32)


def labels(name):
    return idx(name).astype(numpy.int64)


def median_seconds(function, least=0.2):
    """The median time of a call, over as many calls as fill so many seconds."""
    for _ in range(3):
        function()
    times = []
    while sum(times) < least:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class PyTorch:
    """The tutorial's network in PyTorch, eager, on the CPU."""

    def __init__(self):
        torch.manual_seed(0)
        self.threads = torch.get_num_threads()
        self.train_images = torch.from_numpy(images("train-images-idx3-ubyte"))
        self.train_labels = torch.from_numpy(labels("train-labels-idx1-ubyte"))
        self.test_images = torch.from_numpy(images("t10k-images-idx3-ubyte"))
        self.new_network()
        self.train(32, 6_400)

    def new_network(self):
        self.network = nn.Sequential(
            nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(320, 50), nn.Linear(50, 10),
        )
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.5)
        self.loss = nn.CrossEntropyLoss()

    def step(self, images, labels):
        self.optimiser.zero_grad()
        loss = self.loss(self.network(images), labels)
        loss.backward()
        self.optimiser.step()

    def train(self, batch, count=60_000):
        """Seconds to train on so many images that lie in memory, normalised."""
        order = torch.randperm(len(self.train_images))[:count]
        start = time.perf_counter()
        for indices in order.split(batch):
            self.step(self.train_images[indices], self.train_labels[indices])
        return time.perf_counter() - start

    def whole(self):
        """Seconds for an epoch and a test as the tutorial's script has them: torchvision's MNIST,
        each image through PIL, ToTensor and Normalize, and a DataLoader."""
        from torchvision import datasets, transforms

        self.new_network()
        with tempfile.TemporaryDirectory() as folder:
            raw = pathlib.Path(folder, "MNIST", "raw")
            raw.mkdir(parents=True)
            for file in (ROOT / "data/mnist").glob("*.gz"):
                (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
            transform = transforms.Compose(
                [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
            )
            train = datasets.MNIST(folder, train=True, transform=transform)
            test = datasets.MNIST(folder, train=False, transform=transform)
        start = time.perf_counter()
        for images, labels in torch.utils.data.DataLoader(train, batch_size=32, shuffle=True):
            self.step(images, labels)
        right = 0
        with torch.no_grad():
            for images, labels in torch.utils.data.DataLoader(test, batch_size=1000):
                right += (self.network(images).argmax(1) == labels).sum().item()
        seconds = time.perf_counter() - start
        if right < 9_000:
            raise ValueError(f"only {right} of 10,000 test images right after an epoch")
        return seconds

    def predict_all(self):
        """Seconds for the logits of the 10,000 test images, 1,000 at a time."""
        def predict():
            with torch.no_grad():
                for batch in self.test_images.split(1000):
                    self.network(batch)
        return median_seconds(predict)

    def predict_one(self):
        """Seconds for the logits of one image."""
        image = self.test_images[:1]

        def predict():
            with torch.no_grad():
                self.network(image)
        return median_seconds(predict)

    def convolution(self, sizes, way, threads):
        """Seconds for oneDNN's convolution of 32 images, forward or for one of its gradients; on
        all threads where `threads` is 0."""
        inputs, outputs, kernel, side = sizes
        image = torch.randn(32, inputs, side, side)
        weight = torch.randn(outputs, inputs, kernel, kernel)
        gradient = torch.randn(32, outputs, side - kernel + 1, side - kernel + 1)
        wanted = [way == "input gradient", way == "weight gradient", False]

        def compute():
            with torch.no_grad():
                if way == "forward":
                    torch.nn.functional.conv2d(image, weight)
                else:
                    torch.ops.aten.convolution_backward(
                        gradient, image, weight, None,
                        [1, 1], [0, 0], [1, 1], False, [0, 0], 1, wanted,
                    )

        torch.set_num_threads(threads or self.threads)
        try:
            return median_seconds(compute)
        finally:
            torch.set_num_threads(self.threads)


class Jax:
    """The tutorial's network in JAX on the CPU, a training step as one jitted function."""

    def __init__(self):
        import jax
        from jax import lax, numpy as jnp

        self.jax = jax
        self.images = jnp.asarray(images("train-images-idx3-ubyte"))
        self.labels = jnp.asarray(labels("train-labels-idx1-ubyte"))
        generator = numpy.random.default_rng(0)

        def parameter(size, inputs):
            return jnp.asarray(generator.uniform(-1, 1, size) / inputs**0.5, jnp.float32)

        self.weights = []
        for size in [(10, 1, 5, 5), (20, 10, 5, 5), (320, 50), (50, 10)]:
            inputs = size[0] if len(size) == 2 else size[1] * 25
            outputs = size[1] if len(size) == 2 else size[0]
            self.weights.append((parameter(size, inputs), parameter(outputs, inputs)))
        self.velocities = jax.tree.map(jnp.zeros_like, self.weights)

        def block(x, weight, bias):
            x = lax.conv_general_dilated(x, weight, (1, 1), "VALID") + bias[:, None, None]
            x = jnp.maximum(x, 0)
            return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

        def loss(weights, x, labels):
            x = block(block(x, *weights[0]), *weights[1]).reshape(len(x), 320)
            for weight, bias in weights[2:]:
                x = x @ weight + bias
            return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean()

        def step(weights, velocities, images, labels, indices):
            gradients = jax.grad(loss)(weights, images[indices], labels[indices])
            velocities = jax.tree.map(lambda v, g: 0.5 * v + g, velocities, gradients)
            return jax.tree.map(lambda w, v: w - 0.01 * v, weights, velocities), velocities

        self.step = jax.jit(step, donate_argnums=(0, 1))
        self.train(32, 6_400)

    def train(self, batch, count=60_000):
        order = numpy.random.default_rng().permutation(len(self.images))[:count]
        start = time.perf_counter()
        for indices in numpy.split(order, count // batch):
            self.weights, self.velocities = self.step(
                self.weights, self.velocities, self.images, self.labels, indices
            )
        self.jax.block_until_ready(self.weights)
        return time.perf_counter() - start


class Peers:
    """What can be asked for."""

    def __init__(self):
        self.pytorch = PyTorch()
        self.jax = None

    def versions(self):
        versions = {"python": platform.python_version()}
        for name in ["torch", "torchvision", "numpy", "jax"]:
            try:
                versions[name] = importlib.import_module(name).__version__
            except ImportError:
                pass
        versions["threads of torch"] = str(self.pytorch.threads)
        return versions

    def jax_train(self, batch):
        if self.jax is None:
            self.jax = Jax()
        return self.jax.train(batch)

    def answer(self, name, *arguments):
        own = {"versions": self.versions, "jax_train": self.jax_train}
        return (own.get(name) or getattr(self.pytorch, name))(*arguments)


def main():
    peers = Peers()
    for line in sys.stdin:
        try:
            answer = {"value": peers.answer(*json.loads(line))}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
