"""What the CUDA engine is measured against: the tutorial's network in PyTorch on the same GPU.

scripts/gpu_check.py starts this file with a Python that has torch, and asks it for one measurement a
line, as in ["eager", 32]; each is answered by a line, {"value": 1.27} or {"error": "…"}. Between the
lines it waits, so that longhand can be measured in turn with it. The images are random, for what they
show does not change how long it takes, and lie on the GPU, normalised, before anything is timed.

    ["eager", 32]       seconds of an epoch, each operation launched by itself
    ["graph", 32]       seconds of an epoch, the whole step replayed as a CUDA graph
    ["sgemm", 4096]     10^9 operations a second of cuBLAS, FP32 without TF32

PyTorch's own defaults hold in training, so that its convolutions may use TF32.
"""

import json
import sys
import time

import torch
from torch import nn

GPU = torch.device("cuda")
# As many as MNIST has.
EXAMPLES = 60_000


class Training:
    """The tutorial's network, at one batch size."""

    def __init__(self, images, labels, batch):
        self.images, self.labels, self.batch = images, labels, batch
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(320, 50), nn.Linear(50, 10),
        ).to(GPU)
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.5)
        self.loss = nn.CrossEntropyLoss()
        self.graph = None

    def step(self, chosen):
        self.optimiser.zero_grad()
        loss = self.loss(self.network(self.images[chosen]), self.labels[chosen])
        loss.backward()
        self.optimiser.step()

    def capture(self):
        """The whole step as a graph, which reads its examples from `self.chosen`."""
        self.chosen = torch.arange(self.batch, device=GPU)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step(self.chosen)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph):
            self.step(self.chosen)

    def epoch(self, graph):
        """Seconds of one."""
        if graph and self.graph is None:
            self.capture()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for chosen in torch.randperm(len(self.labels), device=GPU).split(self.batch):
            # A graph has one size: the short batch at the end goes without.
            if graph and len(chosen) == self.batch:
                self.chosen.copy_(chosen)
                self.graph.replay()
            else:
                self.step(chosen)
        torch.cuda.synchronize()
        return time.perf_counter() - start


class PyTorch:
    def __init__(self):
        self.images = torch.randn(EXAMPLES, 1, 28, 28, device=GPU)
        self.labels = torch.randint(10, (EXAMPLES,), device=GPU)
        self.trainings = {}

    def training(self, batch, graph):
        # One for each, for a graph holds on to its gradients.
        key = batch, graph
        if key not in self.trainings:
            self.trainings[key] = Training(self.images, self.labels, batch)
            self.trainings[key].epoch(graph)
        return self.trainings[key].epoch(graph)

    def eager(self, batch):
        return self.training(batch, False)

    def graph(self, batch):
        return self.training(batch, True)

    def sgemm(self, size):
        torch.backends.cuda.matmul.allow_tf32 = False
        a, b = (torch.rand(size, size, device=GPU) * 2 - 1 for _ in range(2))
        rates = []
        for _ in range(10):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(10):
                torch.mm(a, b)
            torch.cuda.synchronize()
            rates.append(10 * 2 * size**3 / (time.perf_counter() - start) / 1e9)
        return sorted(rates)[len(rates) // 2]


def main():
    if not torch.cuda.is_available():
        sys.exit("this PyTorch sees no GPU")
    pytorch = PyTorch()
    print(json.dumps({"value": f"PyTorch {torch.__version__}"}), flush=True)
    for line in sys.stdin:
        name, argument = json.loads(line)
        try:
            answer = {"value": getattr(pytorch, name)(argument)}
        except Exception as error:  # Whatever it is, the other measurements go on.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
