"""Measures longhand side by side with PyTorch (and JAX), and writes what came out as Markdown.

    python3 scripts/benchmarks.py [--rounds 5] [--only train,inference] [--out BENCHMARKS.md]

Needs Python and Rust. The first run makes an environment with PyTorch in target/benchmarks-venv (a
download of some GB; `--python PATH` uses a Python that has torch, torchvision and numpy instead),
and builds longhand. Each round takes every measurement once, longhand's beside the other's; every
second round goes through them backwards. What is quoted is the median of the rounds' ratios, and
the lowest and highest of them. Leave the machine alone meanwhile: beside other work, which only the
part `busy` has of its own, PyTorch's threads wait for each other, and longhand looks better than it is.
One or two minutes a round.
`--only` names parts; a record of all parts goes to BENCHMARKS.md, of some only where --out says.

What is measured of PyTorch and JAX is in scripts/peers.py.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ["torch==2.13.0", "numpy", "pillow"]

PARTS = {
    "train": "training at batch 32, 256 and 1024, in PyTorch from tensors in memory",
    "whole": "all five epochs, as a user starts them",
    "inference": "logits of 10,000 test images, and of one",
    "threads": "longhand with one thread and with two",
    "busy": "training at batch 32 beside a process that keeps a core busy",
    "memory": "peak memory of a training run",
    "peak": "operations of training against the machine's peak",
    "convolution": "oneDNN's convolutions, through PyTorch",
    "jax": "training at batch 32 in JAX (with --jax)",
}

# Multiplications and additions of an epoch, all layers dense: forward 144,000 + 320,000 + 16,500
# multiply-adds an image, twice that again for the gradients, less the first layer's input's.
EPOCH_GFLOP = 60_000 * 2 * (3 * (144_000 + 320_000 + 16_500) - 144_000) / 1e9

# Input channels, output channels, kernel, side of the image.
CONVOLUTIONS = [(1, 10, 5, 28), (10, 20, 5, 12), (16, 32, 3, 28), (32, 64, 5, 14)]
WAYS = ["forward", "input gradient", "weight gradient"]


class NotMeasured(Exception):
    """Why something could not be measured; the rest can."""


class Peers:
    """scripts/peers.py, running in a Python that has torch."""

    def __init__(self, python):
        command = [python, ROOT / "scripts/peers.py"]
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        except OSError as error:
            raise SystemExit(f"error: {python}: {error.strerror}")

    def ask(self, *question):
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise SystemExit(
                "error: scripts/peers.py ended; what it said is above\n"
                "(it needs torch, torchvision and numpy; without --python they are installed)"
            )
        answer = json.loads(answer)
        if "error" in answer:
            raise NotMeasured(answer["error"])
        return answer["value"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def beside_a_busy_core(measurement, *arguments):
    """What is measured while another process never waits for anything."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        return measurement(*arguments)
    finally:
        process.kill()
        process.wait()


class Longhand:
    """The program, and its benchmark of single kernels."""

    def __init__(self, program, kernels, engine):
        self.program, self.kernels, self.engine = program, kernels, engine
        # The engine that `cpu` stands for.
        self.way = "lanes" if engine in ("auto", "cpu") else engine
        self.record = None

    def command(self, *flags):
        return [self.program, "train", "--engine", self.engine, *flags]

    def run(self, *flags):
        """What a training run prints, and its seconds from start to end."""
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            output = output_of([*self.command(*flags), "--out", f"{folder}/run"])
            return output, time.perf_counter() - start

    def train(self, *flags):
        """Seconds of an epoch, by longhand's own clock: shuffling, gathering and normalising too. The
        median of five: as PyTorch's process, which goes on, the machine has then warmed up."""
        output, _ = self.run("--json", "--quiet", *flags)
        return statistics.median(json.loads(line)["seconds"] for line in output.splitlines())

    def whole(self):
        return self.run()[1]

    def memory(self):
        """The megabytes that a training run takes at most."""
        if not hasattr(os, "wait4"):
            raise NotMeasured("only Unix tells")
        with tempfile.TemporaryDirectory() as folder:
            flags = ["--epochs", "1", "--quiet", "--out", f"{folder}/run"]
            process = subprocess.Popen(self.command(*flags), stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit("error: longhand train failed; what it said is above")
        # Linux counts in units of 1024 bytes.
        return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6

    def measure_kernels(self):
        """Runs the benchmark, and reads what it wrote."""
        if self.kernels is None:
            raise NotMeasured("there is no benchmark target `kernels`")
        start = time.time()
        output_of([self.kernels, f"predict/{self.way}", "--bench"])
        # Cargo's target folder need not be the repository's.
        targets = [ROOT / "target", *pathlib.Path(self.kernels).resolve().parents[2:3]]
        for target in targets:
            file = target / "kernels/kernels.json"
            # A second for file systems with coarse clocks.
            if file.is_file() and file.stat().st_mtime > start - 1:
                return json.loads(file.read_text())
        raise NotMeasured("the benchmark wrote no kernels.json")

    def kernel_record(self):
        """What the benchmark measured in this round."""
        if self.record is None:
            self.record = self.measure_kernels()
        return self.record

    def predict(self, images):
        for row in objects(self.kernel_record()):
            shape = str(row.get("shape", "")).replace(",", "").split()
            if (row.get("group"), row.get("way"), shape[:1]) == ("predict", self.way, [str(images)]):
                return row["seconds"]
        raise NotMeasured(f"kernels.json has no predict/{self.way} of {images}")

    def peak(self):
        for row in objects(self.kernel_record()):
            if isinstance(row.get("peak_gflops"), (int, float)):
                return row["peak_gflops"]
        raise NotMeasured("kernels.json has no peak_gflops")


def objects(value):
    """Every JSON object in a JSON value, at any depth."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for element in value:
            yield from objects(element)


def output_of(command):
    """What a command prints, as text. Ends this program where the command fails."""
    command = [str(word) for word in command]
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError as error:
        raise SystemExit(f"error: {command[0]}: {error.strerror}")
    if result.returncode != 0:
        # Some tell their errors as output.
        said = f"{result.stdout}{result.stderr}".strip()
        raise SystemExit(f"error: {shlex.join(command)}\n{said}")
    return result.stdout


@dataclasses.dataclass
class Row:
    """A line of the table: two measurements, by name, and what is made of them in each round."""

    part: str
    title: str
    ours: str
    theirs: str
    value: object = lambda ours, theirs: theirs / ours
    target: str = ""  # As in "≥ 20" or "≤ 1.05".
    rival: str = ""  # Whose measurement `theirs` is, where not longhand's own.
    unit: str = "s"
    their_unit: str = "s"


ROWS = [
    Row("train", "training, an epoch, batch 32: times faster than PyTorch",
        "train 32", "pytorch train 32", target="≥ 20", rival="PyTorch"),
    Row("train", "the same, batch 256", "train 256", "pytorch train 256", rival="PyTorch"),
    Row("train", "the same, batch 1024", "train 1024", "pytorch train 1024", rival="PyTorch"),
    Row("train", "longhand at batch 256: its time an image, of that at batch 32",
        "train 256", "train 32", lambda ours, theirs: ours / theirs, "≤ 1.05"),
    Row("train", "longhand at batch 1024: its time an image, of that at batch 32",
        "train 1024", "train 32", lambda ours, theirs: ours / theirs, "≤ 1.05"),
    Row("whole", "the whole default run, five epochs: times faster than the tutorial's script",
        "whole", "pytorch whole", target="≥ 40", rival="PyTorch"),
    Row("inference", "logits of 10,000 images: times faster than PyTorch at batch 1000",
        "predict 10000", "pytorch predict 10000", target="≥ 9", rival="PyTorch"),
    Row("inference", "logits of one image: times faster than PyTorch",
        "predict 1", "pytorch predict 1", target="≥ 25", rival="PyTorch"),
    Row("threads", "longhand with two threads: times faster than with one",
        "train, 2 threads", "train, 1 thread", target="≥ 1.7"),
    Row("busy", "training beside a process that keeps a core busy, an epoch: times faster than PyTorch",
        "train, busy", "pytorch train, busy", rival="PyTorch"),
    Row("busy", "longhand beside that process: its time, of that with one thread alone",
        "train, busy", "train, 1 thread", lambda ours, theirs: ours / theirs),
    Row("memory", "peak memory of a training run, MB",
        "memory", "", lambda ours, theirs: ours, "≤ 150", unit="MB"),
    Row("peak", f"operations of training ({EPOCH_GFLOP:.0f} GFLOP an epoch, all dense), of the peak",
        "train 32", "peak", lambda ours, theirs: EPOCH_GFLOP / ours / theirs, "≥ 1.1",
        their_unit="GFLOP/s"),
    Row("jax", "training, an epoch, batch 32: times faster than JAX, a jitted step",
        "train 32", "jax train 32", rival="JAX"),
]


def measurements(longhand, peers):
    """How to take every measurement, by name. Those that are compared stand side by side."""
    return {
        "train 32": longhand.train,
        "pytorch train 32": lambda: peers.ask("train", 32),
        "jax train 32": lambda: peers.ask("jax_train", 32),
        "train 256": lambda: longhand.train("--batch-size", "256"),
        "pytorch train 256": lambda: peers.ask("train", 256),
        "train 1024": lambda: longhand.train("--batch-size", "1024"),
        "pytorch train 1024": lambda: peers.ask("train", 1024),
        "train, 1 thread": lambda: longhand.train("--threads", "1"),
        "train, 2 threads": lambda: longhand.train("--threads", "2"),
        "train, busy": lambda: beside_a_busy_core(longhand.train),
        "pytorch train, busy": lambda: beside_a_busy_core(peers.ask, "train", 32),
        "memory": longhand.memory,
        "whole": longhand.whole,
        "pytorch whole": lambda: 5 * peers.ask("whole"),
        "peak": longhand.peak,
        "predict 10000": lambda: longhand.predict(10_000),
        "pytorch predict 10000": lambda: peers.ask("predict_all"),
        "predict 1": lambda: longhand.predict(1),
        "pytorch predict 1": lambda: peers.ask("predict_one"),
        **{
            convolution_name(sizes, way, threads):
                lambda sizes=sizes, way=way, threads=threads:
                    gflops(sizes, peers.ask("convolution", sizes, way, threads))
            for sizes in CONVOLUTIONS for way in WAYS for threads in (0, 1)
        },
    }


def convolution_name(sizes, way, threads):
    return f"oneDNN {sizes} {way} {'1 thread' if threads else 'all threads'}"


def gflops(sizes, seconds):
    """Billions of operations a second, for 32 images without padding."""
    inputs, outputs, kernel, side = sizes
    return 32 * 2 * inputs * outputs * kernel**2 * (side - kernel + 1) ** 2 / seconds / 1e9


def measure(longhand, peers, names, rounds):
    """The samples of every measurement, one a round, and why some have none."""
    samples, reasons = {name: [] for name in names}, {}
    functions = measurements(longhand, peers)
    ordered = [name for name in functions if name in names]
    for round in range(rounds):
        longhand.record = None
        for name in ordered if round % 2 == 0 else ordered[::-1]:
            if name in reasons:
                continue
            try:
                samples[name].append(functions[name]())
                print(f"round {round + 1}  {name}: {samples[name][-1]:.5g}", flush=True)
            except NotMeasured as error:
                reasons[name] = str(error)
                print(f"round {round + 1}  {name}: not measured, {error}", flush=True)
    return samples, reasons


def quantity(values, unit):
    """The median, with its unit."""
    value = statistics.median(values)
    if unit == "s":
        scale, unit = next(
            (pair for pair in [(1, "s"), (1e3, "ms")] if value * pair[0] >= 1), (1e6, "µs")
        )
        value *= scale
    return f"{value:.{2 if value < 100 else 0}f} {unit}"


def reached(target, value):
    sign, number = target.split()
    return value >= float(number) if sign == "≥" else value <= float(number)


def table(parts, samples, reasons):
    """The Markdown lines of the table, and those that say what longhand loses."""
    lines = [
        "| what | longhand | beside it | measured | lowest to highest | target | reached |",
        "|---|---|---|---|---|---|---|",
    ]
    slower, missed, unmeasured = [], [], []
    for row in ROWS:
        if row.part not in parts:
            continue
        names = [name for name in (row.ours, row.theirs) if name]
        why = [reasons[name] for name in names if name in reasons]
        cells = ["not measured"] * 2 + ["", "", row.target, ""]
        if samples[row.ours]:
            cells[0] = quantity(samples[row.ours], row.unit)
        if not row.theirs:
            cells[1] = ""
        elif samples[row.theirs]:
            cells[1] = quantity(samples[row.theirs], row.their_unit)
        if why:
            unmeasured.append(f"- {row.title}: {why[0]}")
        else:
            theirs = samples[row.theirs] if row.theirs else samples[row.ours]
            values = [row.value(*pair) for pair in zip(samples[row.ours], theirs)]
            value = statistics.median(values)
            cells[2] = f"**{value:.2f}**"
            cells[3] = f"{min(values):.2f} to {max(values):.2f}"
            if row.target:
                cells[5] = "yes" if reached(row.target, value) else "no"
            if cells[5] == "no":
                missed.append(f"- {row.title}: {value:.2f}, target {row.target}")
            if row.rival and value < 1:
                slower.append(f"- {row.title}: {value:.2f}, so {row.rival} is faster")
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    lines += ["", "## What longhand loses", ""]
    lines += ["Slower than another:", "", *slower] if slower else ["No row that was measured is slower."]
    lines += ["", "Targets missed:", "", *missed] if missed else ["", "No target is missed."]
    if unmeasured:
        lines += ["", "Not measured:", "", *unmeasured]
    return lines


def convolution_table(samples, reasons):
    """The Markdown lines of oneDNN's convolutions."""
    lines = [
        "## oneDNN's convolutions",
        "",
        "GFLOP/s through PyTorch: `conv2d` and `convolution_backward`, 32 images, no padding, dense",
        "operations. Medians of the rounds, lowest to highest.",
        "",
        "| channels, kernel, image | | all threads | 1 thread |",
        "|---|---|---|---|",
    ]
    for sizes in CONVOLUTIONS:
        inputs, outputs, kernel, side = sizes
        for way in WAYS:
            cells = []
            for threads in (0, 1):
                name = convolution_name(sizes, way, threads)
                values = samples[name]
                cells.append(
                    f"not measured: {reasons[name]}" if name in reasons else
                    f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"
                )
            shape = f"{inputs} → {outputs}, {kernel} x {kernel}, {side} x {side}"
            lines.append(f"| {shape} | {way} | {' | '.join(cells)} |")
    return lines


def generation():
    """Family and model of the processor, where Linux tells them: its name may be hidden."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    fields = dict(map(str.strip, line.split(":", 1)) for line in lines if ":" in line)
    if "cpu family" not in fields or "model" not in fields:
        return ""
    return f" (family {fields['cpu family']}, model {fields['model']})"


def heading(arguments, longhand, versions):
    """What was measured on what, with what."""
    cpu = json.loads(output_of([longhand.program, "devices", "--json"]))["cpu"]
    commit = git("rev-parse", "--short=12", "HEAD") or "unknown"
    if git("status", "--porcelain", "--untracked-files=no"):
        commit += ", with changes"
    version = output_of([longhand.program, "--version"]).strip()
    others = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [
        "# Benchmarks",
        "",
        f"- {datetime.date.today()}, {cpu['name']}{generation()}, {cpu['threads']} threads, {' '.join(cpu['features'])}",
        f"- {version}, commit {commit}, engine `{longhand.engine}`"
        + (", built elsewhere" if arguments.program else ""),
        f"- {others}",
        f"- `{shlex.join(['python3', 'scripts/benchmarks.py', *sys.argv[1:]])}`",
        "",
        f"Rounds: {arguments.rounds}. Each took every measurement once, longhand's beside the other's. Times are",
        "medians, ratios the median of the rounds' ratios.",
        "",
    ]


def explanation(longhand):
    """How each side of the table is measured."""
    train = shlex.join([pathlib.Path(word).name for word in longhand.command()])
    return [
        "",
        "## How",
        "",
        f"- longhand trains by `{train} --json --quiet`, with `--batch-size` or `--threads` where the table",
        "  says so: the median `seconds` of its five epochs, in which images are shuffled, gathered and",
        "  normalised. PyTorch trains an epoch a round in one process, which a shorter one has warmed up:",
        "  eagerly, all images in memory as tensors and normalised before.",
        f"- The whole run is the process `{train}`, from start to end, every file written. Beside it is",
        "  the tutorial's script: torchvision's MNIST, each image through PIL, `ToTensor` and `Normalize`,",
        "  `DataLoader` with batch 32, and the test with batch 1000; one epoch and test are timed, and",
        "  counted five times. The import of torch does not count.",
        f"- longhand's inference is `cargo bench --bench kernels -- predict/{longhand.way}`; PyTorch's is",
        "  forward under `no_grad`, on tensors normalised before. The peak is what the same benchmark",
        "  reaches with nothing but multiply-adds in registers.",
        "- What keeps a core busy is a loop without end in a process of its own, started for that measurement.",
        "- Both use all threads, where nothing else is said. PyTorch and JAX are in",
        "  [scripts/peers.py](scripts/peers.py).",
    ]


def git(*words):
    """What git says, or nothing where it is not there."""
    try:
        result = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return result.stdout.strip()


def environment(arguments):
    """A Python with what scripts/peers.py needs."""
    if arguments.python:
        return arguments.python
    folder = ROOT / "target/benchmarks-venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # One that was made without pip is made again.
    if not python.exists() or subprocess.run([python, "-c", "import pip"], capture_output=True).returncode:
        output_of([sys.executable, "-m", "venv", "--clear", folder])
    print(f"PyTorch goes to {folder}", flush=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    output_of([*pip, *PACKAGES])
    # Without what it depends on, so that torch stays as it is.
    output_of([*pip, "--no-deps", "torchvision==0.28.0"])
    if arguments.jax:
        try:
            output_of([*pip, "jax"])
        except SystemExit as error:
            print(f"JAX could not be installed, and is left out:\n{error}")
    return python


def artifact(command, name):
    """Builds, and returns the executable of a target."""
    for line in output_of([*command, "--message-format", "json"]).splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return message["executable"]
    raise SystemExit(f"error: `{shlex.join(command)}` built no {name}")


def kernels(arguments):
    """The benchmark of single kernels, or nothing where there is none."""
    if arguments.kernels:
        return arguments.kernels
    try:
        return artifact(["cargo", "bench", "--no-run", "--bench", "kernels"], "kernels")
    except SystemExit as error:
        print(f"the benchmark of kernels is left out:\n{error}")
        return None


def arguments_of(parser):
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", default="cpu", help="longhand's engine [cpu]")
    parser.add_argument("--only", metavar="PARTS", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--out", type=pathlib.Path, help="the Markdown file")
    parser.add_argument("--jax", action="store_true", help="also measure JAX")
    parser.add_argument("--python", type=os.path.abspath, help="a Python that has torch, torchvision and numpy")
    parser.add_argument("--program", type=os.path.abspath, help="a longhand that is built already")
    parser.add_argument("--kernels", type=os.path.abspath, help="a benchmark `kernels` that is built already")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    parts = arguments.only.split(",") if arguments.only else [*PARTS]
    for part in parts:
        if part not in PARTS:
            parser.error(f"--only: there is no part `{part}`, only {', '.join(PARTS)}")
    if not arguments.only:
        parts.remove("jax")
        arguments.out = arguments.out or ROOT / "BENCHMARKS.md"
    if arguments.jax and "jax" not in parts:
        parts.append("jax")
    arguments.jax = "jax" in parts
    return arguments, parts


def main():
    epilog = "\n".join(f"  {name:<12} {about}" for name, about in PARTS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"parts:\n{epilog}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments, parts = arguments_of(parser)

    program = arguments.program or artifact(
        ["cargo", "build", "--release", "--bin", "longhand"], "longhand"
    )
    needs_kernels = {"inference", "peak"} & set(parts)
    longhand = Longhand(program, kernels(arguments) if needs_kernels else None, arguments.engine)
    peers = Peers(environment(arguments))
    lines = heading(arguments, longhand, peers.ask("versions"))

    names = {name for row in ROWS if row.part in parts for name in (row.ours, row.theirs) if name}
    if "convolution" in parts:
        names |= {
            convolution_name(sizes, way, threads)
            for sizes in CONVOLUTIONS for way in WAYS for threads in (0, 1)
        }
    samples, reasons = measure(longhand, peers, names, arguments.rounds)
    peers.close()

    lines += table(parts, samples, reasons)
    if "convolution" in parts:
        lines += ["", *convolution_table(samples, reasons)]
    text = "\n".join(lines + explanation(longhand)) + "\n"
    print(f"\n{text}")
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
        print(f"written to {arguments.out}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
