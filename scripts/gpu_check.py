"""Tries the CUDA engine on a real GPU, in two stages, because the machine that has one may have no
Rust, and no network.

    python3 scripts/gpu_check.py build FOLDER    # where Rust is: all that is needed, into FOLDER
    python3 FOLDER/gpu_check.py run              # where the GPU is: writes results.json, results.md

The second stage holds the engine to the test body of all engines, and its kernels to the right
products; with `compute-sanitizer` on the path, every kernel goes through its checks of memory, races
and barriers. It trains the tutorial's network for several seeds on GPU and CPU. Then it times epochs in
turn with PyTorch's, where that Python has torch, as they are and as a CUDA graph, and ends with the
benches of the GPU. What is done is written down at once. A part alone: `run --only speed`. The exit
status is 1 where something failed; a figure that was not measured is a row that says so.
"""

import argparse
import datetime
import gzip
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TESTS = ["engines", "sgemm", "cuda"]
PARTS = ["tests", "sanitizer", "accuracy", "speed", "benches"]
# Of the whole folder, so that it is quickly carried somewhere.
MOST_BYTES = 52_000_000
# Seconds that a program may take, so that one that hangs leaves the others their time.
MOST_SECONDS = 540
NO_SANITIZER = "it is not on the path"
# Images in a step, whose epochs are timed.
BATCHES = [32, 1024]
ROUNDS = 5
# What the engine should reach: ratios at least, seconds at most.
GOALS = {
    "batch 32, times PyTorch eager": 20,
    "batch 32, times PyTorch in a CUDA graph": 3,
    "batch 1024, times PyTorch eager": 3,
    "SGEMM 4096, best rung to cuBLAS": 0.9,
    "batch 32, an epoch, s": 0.040,
    "5 epochs and tests after start-up, s": 0.5,
}


def build(folder):
    root = HERE.parent
    folder.mkdir(parents=True, exist_ok=True)
    programs = {}
    tests = [word for test in TESTS for word in ("--test", test)]
    for words in (
        ["build", "--release"],
        ["test", "--release", *tests, "--no-run"],
        ["bench", "--bench", "kernels", "--no-run"],
    ):
        command = ["cargo", *words, "--locked", "--message-format=json"]
        messages = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
        for line in messages.stdout.splitlines():
            message = json.loads(line)
            name = message.get("target", {}).get("name")
            if message.get("executable") and name in ["longhand", *TESTS, "kernels"]:
                programs[name] = message["executable"]
    for name, program in programs.items():
        stripped = folder / name
        subprocess.run(["strip", "-o", stripped, program], check=True)
        # Some have the whole of MNIST in them, which gzip makes a fifth of.
        with open(stripped, "rb") as plain, gzip.open(f"{stripped}.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)
        stripped.unlink()
    for script in ["gpu_check.py", "gpu_pytorch.py"]:
        shutil.copy(HERE / script, folder / script)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {', '.join(sorted(programs))}, {size / 1e6:.0f} MB")
    if size > MOST_BYTES:
        sys.exit(f"more than {MOST_BYTES / 1e6:.0f} MB")


def unpack():
    """The programs, from what the first stage made of them."""
    for packed in HERE.glob("*.gz"):
        program = packed.with_suffix("")
        with gzip.open(packed, "rb") as contents, open(program, "wb") as plain:
            shutil.copyfileobj(contents, plain)
        program.chmod(0o755)


def output(*words, **environment):
    """Exit status, output and errors of a program that must find the GPU."""
    # What the driver compiled stays beside the programs, so that they do not compile it again.
    environment = os.environ | {"CUDA_CACHE_PATH": str(HERE / "cache"), "NEEDS_GPU": "1"} | environment
    try:
        done = subprocess.run(
            words, cwd=HERE, capture_output=True, text=True, timeout=MOST_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"{words[0]} was stopped after {MOST_SECONDS} s"
    return done.returncode, done.stdout, done.stderr


def train(engine, *options):
    """Seconds of each epoch, the last test accuracy, and seconds behind the first step."""
    words = ["./longhand", "train", "--engine", engine, "--json", "--quiet", *options]
    status, lines, errors = output(*words, "--out", "run", "--overwrite")
    if status:
        return {"error": errors.strip()}
    epochs = [json.loads(line) for line in lines.splitlines()]
    seconds = json.loads((HERE / "run/run.json").read_text())["seconds"]
    return {
        "seconds": [epoch["seconds"] for epoch in epochs],
        "accuracy": epochs[-1]["test_accuracy"],
        "behind_start": seconds["total"] - seconds["start_to_first_step"],
    }


class PyTorch:
    """scripts/gpu_pytorch.py, or nothing where there is no torch."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, HERE / "gpu_pytorch.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        line = self.process.stdout.readline()
        self.version = json.loads(line)["value"] if line else None

    def ask(self, name, argument):
        """What it measured, or nothing where it could not, which is then printed."""
        if self.version is None or self.process.poll() is not None:
            return None
        try:
            self.process.stdin.write(json.dumps([name, argument]) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        answer = json.loads(line) if line else {"error": "it ended"}
        if "error" in answer:
            print(f"PyTorch, {name} {argument}: {answer['error']}")
        return answer.get("value")

    def close(self):
        try:
            self.process.stdin.close()
        except OSError:
            pass
        self.process.wait()


def passed(status, text, errors):
    return "passed" if status == 0 else text + errors


def run_tests(results, _, write):
    for test in TESTS:
        results[test] = passed(*output(f"./{test}"))
        print(f"{test}: {'passed' if results[test] == 'passed' else 'FAILED'}", flush=True)
        write()


def run_sanitizer(results, _, write):
    if not shutil.which("compute-sanitizer"):
        results["compute-sanitizer"] = NO_SANITIZER
        return
    # The tests of cuda.rs that open a device need every kernel.
    tests = ["images_stay", "the_same_seed", "a_block_takes"]
    for tool in ["memcheck", "racecheck", "synccheck", "initcheck"]:
        words = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "1", "./cuda", *tests]
        results[tool] = passed(*output(*words, NO_EMULATED_GPU="1"))
        print(f"{tool}: {'passed' if results[tool] == 'passed' else 'FAILED'}", flush=True)
        write()


def run_accuracy(results, seeds, write):
    for engine in ["cuda", "cpu"]:
        results[engine] = [train(engine, "--seed", str(seed)) for seed in range(seeds)]
        print(f"{engine}: {results[engine]}", flush=True)
        write()


def run_speed(results, _, write):
    pytorch = PyTorch()
    results["pytorch"] = pytorch.version
    for batch in BATCHES:
        rounds = results[f"batch {batch}"] = []
        for _ in range(ROUNDS):
            ours = train("cuda", "--batch-size", str(batch), "--epochs", "5")
            rounds.append({
                "longhand": ours,
                "eager": pytorch.ask("eager", batch),
                "graph": pytorch.ask("graph", batch),
            })
            print(f"batch {batch}: {rounds[-1]}", flush=True)
            write()
    pytorch.close()


def run_benches(results, _, write):
    pytorch = PyTorch()
    rates = [pytorch.ask("sgemm", 4096)]
    written = HERE / "bench/kernels/kernels.json"
    written.unlink(missing_ok=True)
    status, text, errors = output("./kernels", "--bench", "gpu_", CARGO_TARGET_DIR=str(HERE / "bench"))
    rates.append(pytorch.ask("sgemm", 4096))
    pytorch.close()
    results["cublas_gflops"] = rates
    # Where no GPU was timed nothing is written.
    if status or not written.exists():
        results["error"] = text + errors
    else:
        results["kernels"] = json.loads(written.read_text())
    write()


def failures(results):
    """What failed of the parts that were run, in words."""
    found = [
        f"{part}: {name}"
        for part in ["tests", "sanitizer"]
        for name, result in results.get(part, {}).items()
        if result not in ["passed", NO_SANITIZER]
    ]
    for engine, rows in results.get("accuracy", {}).items():
        found += [f"accuracy: {engine}: {row['error']}" for row in rows if "error" in row]
    for batch in BATCHES:
        for row in results.get("speed", {}).get(f"batch {batch}", []):
            if "error" in row["longhand"]:
                found.append(f"speed: batch {batch}: {row['longhand']['error']}")
    if error := results.get("benches", {}).get("error"):
        found.append(f"benches: {error}")
    return found


def figures(results):
    """The figures with goals, as far as they were measured."""
    found = {}
    speed = results.get("speed", {})
    for batch in BATCHES:
        rounds = [row for row in speed.get(f"batch {batch}", []) if "seconds" in row["longhand"]]
        if not rounds:
            continue
        # The first epoch of a process has the start of the GPU in it.
        ours = [statistics.median(row["longhand"]["seconds"][1:]) for row in rounds]
        found[f"batch {batch}, an epoch, s"] = statistics.median(ours)
        for key, name in [("eager", "PyTorch eager"), ("graph", "PyTorch in a CUDA graph")]:
            ratios = [row[key] / own for row, own in zip(rounds, ours) if row[key]]
            if ratios:
                found[f"batch {batch}, times {name}"] = statistics.median(ratios)
        if batch == 32:
            behind = [row["longhand"]["behind_start"] for row in rounds]
            found["5 epochs and tests after start-up, s"] = statistics.median(behind)
    benches = results.get("benches", {})
    rates = [rate for rate in benches.get("cublas_gflops", []) if rate]
    rows = benches.get("kernels", {}).get("rows", [])
    products = [row for row in rows if row["group"] == "gpu_sgemm" and row["shape"].startswith("4096")]
    if rates and products:
        best = max(row["gflops"] for row in products)
        found["SGEMM 4096, best rung to cuBLAS"] = best / statistics.mean(rates)
    return found


def markdown(results):
    gpu = results["gpus"][0]
    lines = [
        f"{results['date']}, {gpu['name']}, driver CUDA {results['cuda'].get('version')}, "
        f"{results['cpu']['name']} with {results['cpu']['threads']} threads, "
        f"{results.get('speed', {}).get('pytorch') or 'no PyTorch'}",
        "",
        "| what | measured | goal |",
        "|---|---|---|",
    ]
    for part in ["tests", "sanitizer"]:
        for name, result in results.get(part, {}).items():
            short = result if result in ["passed", NO_SANITIZER] else "failed"
            lines.append(f"| {name} | {short} | passed |")
    found = figures(results)
    for name in [*GOALS, *(name for name in found if name not in GOALS)]:
        goal = GOALS.get(name)
        at = "" if goal is None else f"at {'most' if name.endswith(', s') else 'least'} {goal}"
        value = f"{found[name]:.4g}" if name in found else "not measured"
        lines.append(f"| {name} | {value} | {at} |")
    for engine, rows in results.get("accuracy", {}).items():
        accuracies = [100 * row["accuracy"] for row in rows if "accuracy" in row]
        if len(accuracies) < len(rows):
            lines.append(f"| {engine}: seeds that failed | {len(rows) - len(accuracies)} | 0 |")
        if accuracies:
            lines.append(
                f"| {engine}: test accuracy, {len(accuracies)} seeds | "
                f"{statistics.mean(accuracies):.2f} %, lowest {min(accuracies):.2f} % | |"
            )
    rows = results.get("benches", {}).get("kernels", {}).get("rows", [])
    if rows:
        lines += ["", "| bench | rung | shape | ms | GFLOP/s | of the peak |", "|---|---|---|---|---|---|"]
    for row in rows:
        peak = f"{100 * row['of_peak']:.1f} %" if row["of_peak"] else "-"
        lines.append(
            f"| {row['group']} | {row['way']} | {row['shape']} | {1e3 * row['seconds']:.4g} | "
            f"{row['gflops']:.0f} | {peak} |"
        )
    lines += ["", *(f"- failed: {failure.splitlines()[0]}" for failure in failures(results))]
    return "\n".join(lines).rstrip() + "\n"


def run(seeds, only):
    unpack()
    status, devices, errors = output("./longhand", "devices", "--json")
    devices = json.loads(devices) if status == 0 else sys.exit(errors)
    if not devices["gpus"]:
        sys.exit(devices["cuda"]["missing"])
    written = HERE / "results.json"
    # Parts that were run before stay.
    results = json.loads(written.read_text()) if only and written.exists() else {}
    results |= {
        "date": datetime.date.today().isoformat(),
        "gpus": devices["gpus"],
        "cuda": devices["cuda"],
        "cpu": devices["cpu"],
        "system": platform.platform(),
    }
    do = {
        "tests": run_tests,
        "sanitizer": run_sanitizer,
        "accuracy": run_accuracy,
        "speed": run_speed,
        "benches": run_benches,
    }

    def write():
        written.write_text(json.dumps(results, indent=2) + "\n")
        (HERE / "results.md").write_text(markdown(results))

    for part in only or PARTS:
        results[part] = {}
        do[part](results[part], seeds, write)
    write()
    print(markdown(results))
    if failures(results):
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stages = parser.add_subparsers(dest="stage", required=True)
    stages.add_parser("build").add_argument("folder", type=pathlib.Path)
    second = stages.add_parser("run")
    second.add_argument("--seeds", type=int, default=5, help="runs of the accuracy [default: 5]")
    second.add_argument("--only", choices=PARTS, nargs="+", help="these parts [default: all]")
    arguments = parser.parse_args()
    if arguments.stage == "build":
        build(arguments.folder.resolve())
    else:
        run(arguments.seeds, arguments.only)


if __name__ == "__main__":
    main()
