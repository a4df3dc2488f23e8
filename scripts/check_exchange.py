"""Opens longhand's models in PyTorch and in ONNX Runtime, and PyTorch's in longhand, and compares
the logits of MNIST's 10,000 test images. Ends with 1 if any differ by more than 1e-5.

    cargo build --release
    pip install torch==2.13.0 safetensors numpy onnx onnxruntime
    python scripts/check_exchange.py

The tutorial's network is the tutorial's own class; others are what `longhand summary --pytorch`
prints. Differences are relative: max|a - b| / max|b|, b being PyTorch's.
"""

import argparse
import csv
import gzip
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import load_file
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5
NETWORKS = {
    "tutorial": "tutorial",
    "lenet5": "lenet5",
    "odd": "conv2d 6 4x2 stride=2x1 padding=1x0, relu, max_pool2d 3x2 stride=2x1 padding=1, "
    "conv2d 7 2x3 stride=1x2 padding=0x1, relu, flatten, dropout 0.5, linear 20, relu, linear 10",
}


class Net(nn.Module):
    """The tutorial's."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2))
        self.conv2 = nn.Sequential(nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Sequential(nn.Linear(320, 50), nn.Linear(50, 10))

    def forward(self, x):
        return self.fc(self.conv2(self.conv1(x)).flatten(1))


def images():
    """MNIST's test images, normalised: (10000, 1, 28, 28)."""
    path = ROOT / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"
    pixels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16)
    pixels = torch.tensor(pixels.reshape(-1, 1, 28, 28))
    return (pixels / 255 - 0.1307) / 0.3081


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=str(ROOT / "target/release/longhand"))
    program = str(pathlib.Path(parser.parse_args().program).resolve())
    x = images()
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def longhand(*words):
            command = [program, *map(str, words)]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{' '.join(command)}: {done.stderr}")
            return done.stdout

        def logits_of_longhand(model, *flags):
            longhand("test", "--model", model, *flags, "--out", "report")
            with open(folder / "report" / "predictions.csv", newline="") as file:
                rows = list(csv.reader(file))[1:]
            return np.array([[float(cell) for cell in row[4:]] for row in rows])

        for name, network in NETWORKS.items():
            longhand("train", "--network", network, "--epochs", 1, "--quiet", "--out", name)
            model = folder / name / "model.safetensors"
            if name == "tutorial":
                net = Net()
            else:
                text = longhand("summary", "--pytorch", "--model", model)
                (folder / f"{name}.py").write_text(text)
                spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                net = module.network()
            net.load_state_dict(load_file(model), strict=True)
            net.eval()
            with torch.inference_mode():
                expected = net(x).numpy()

            def compare(what, logits):
                nonlocal worst
                difference = np.abs(logits - expected).max() / np.abs(expected).max()
                # So that NaN is worst, too.
                worst = difference if not difference <= worst else worst
                print(f"{name:<10} {what:<46} {difference:.1e}", flush=True)

            compare("longhand beside PyTorch, model.safetensors", logits_of_longhand(model))

            torch.save(net.state_dict(), folder / "checkpoint.pth")
            flags = ["--network", f"input 1x28x28, {network}"] if name == "odd" else []
            logits = logits_of_longhand("checkpoint.pth", *flags)
            compare("longhand with PyTorch's checkpoint.pth", logits)

            longhand("export", model, "--onnx", "net.onnx")
            onnx.checker.check_model(str(folder / "net.onnx"), full_check=True)
            session = onnxruntime.InferenceSession(
                str(folder / "net.onnx"), providers=["CPUExecutionProvider"]
            )
            [logits] = session.run(["logits"], {"input": x.numpy()})
            compare(f"ONNX Runtime {onnxruntime.__version__}", logits)
    print(f"largest difference {worst:.1e}")
    if not worst <= TOLERANCE:
        sys.exit(1)


if __name__ == "__main__":
    main()
