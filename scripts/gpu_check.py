"""Tries the CUDA engine on a real GPU, in two stages, because the machine that has one may have no
Rust, and no network.

    python3 scripts/gpu_check.py build FOLDER    # where Rust is: all that is needed, into FOLDER
    python3 FOLDER/gpu_check.py run [--seeds 5]  # where the GPU is: writes results.json, results.md

The second stage holds the engine to the test body of all engines, kernels of products to the right
product, trains the tutorial's network for several seeds, and times an epoch beside the CPU's. With
`compute-sanitizer` on the path, a short run goes through its memory check, too.
"""

import argparse
import datetime
import json
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TESTS = ["engines", "sgemm"]
# Of the whole folder, so that it is quickly carried somewhere.
MOST_BYTES = 60_000_000


def build(folder):
    root = HERE.parent
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=root, check=True)
    command = ["cargo", "test", "--release", "--locked", "--no-run", "--message-format=json"]
    command += [word for test in TESTS for word in ("--test", test)]
    messages = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    programs = {"longhand": root / "target/release/longhand"}
    for line in messages.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] in TESTS:
            programs[message["target"]["name"]] = message["executable"]
    for name, program in programs.items():
        shutil.copy(program, folder / name)
        subprocess.run(["strip", folder / name], check=True)
    shutil.copy(__file__, folder / "gpu_check.py")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {', '.join(sorted(programs))}, {size / 1e6:.0f} MB")
    if size > MOST_BYTES:
        sys.exit(f"more than {MOST_BYTES / 1e6:.0f} MB")


def output(*words):
    done = subprocess.run(words, cwd=HERE, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def train(engine, seed):
    """Seconds of each epoch, and the last test accuracy."""
    words = ["./longhand", "train", "--engine", engine, "--seed", str(seed), "--json", "--quiet"]
    status, lines, errors = output(*words, "--out", f"runs/{engine}-{seed}", "--overwrite")
    if status:
        return None, errors.strip()
    epochs = [json.loads(line) for line in lines.splitlines()]
    return [epoch["seconds"] for epoch in epochs], epochs[-1]["test_accuracy"]


def run(seeds):
    status, devices, errors = output("./longhand", "devices", "--json")
    devices = json.loads(devices) if status == 0 else sys.exit(errors)
    if not devices["gpus"]:
        sys.exit(devices["cuda"]["missing"])
    results = {
        "date": datetime.date.today().isoformat(),
        "gpus": devices["gpus"],
        "cuda": devices["cuda"],
        "cpu": devices["cpu"],
        "system": platform.platform(),
        "tests": {},
        "training": {},
    }
    for test in TESTS:
        status, text, errors = output(f"./{test}")
        results["tests"][test] = "passed" if status == 0 else text + errors
        print(f"{test}: {'passed' if status == 0 else 'FAILED'}", flush=True)
    if shutil.which("compute-sanitizer"):
        words = ["compute-sanitizer", "./longhand", "gradcheck", "--engine", "cuda"]
        status, text, errors = output(*words)
        results["tests"]["compute-sanitizer"] = "passed" if status == 0 else text + errors
    for engine in ["cuda", "cpu"]:
        found = [train(engine, seed) for seed in range(seeds)]
        results["training"][engine] = [
            {"seed": seed, "seconds": seconds, "accuracy_or_error": last}
            for seed, (seconds, last) in enumerate(found)
        ]
        print(f"{engine}: {found}", flush=True)
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (HERE / "results.md").write_text(markdown(results))
    print(markdown(results))


def markdown(results):
    gpu = results["gpus"][0]
    lines = [
        f"{results['date']}, {gpu['name']}, driver CUDA {results['cuda'].get('version')}, "
        f"{results['cpu']['name']} with {results['cpu']['threads']} threads",
        "",
        "| what | measured |",
        "|---|---|",
    ]
    for test, result in results["tests"].items():
        lines.append(f"| {test} | {'passed' if result == 'passed' else 'failed'} |")
    for engine, rows in results["training"].items():
        done = [row for row in rows if row["seconds"]]
        if len(done) < len(rows):
            lines.append(f"| {engine}: seeds that failed | {len(rows) - len(done)} |")
        if done:
            # The first epoch warms up.
            epochs = [seconds for row in done for seconds in row["seconds"][1:]]
            accuracies = [100 * row["accuracy_or_error"] for row in done]
            lines.append(f"| {engine}: an epoch, median | {statistics.median(epochs):.4f} s |")
            lines.append(
                f"| {engine}: test accuracy, {len(done)} seeds | "
                f"{statistics.mean(accuracies):.2f} %, lowest {min(accuracies):.2f} % |"
            )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stages = parser.add_subparsers(dest="stage", required=True)
    stages.add_parser("build").add_argument("folder", type=pathlib.Path)
    stages.add_parser("run").add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.stage == "build":
        build(arguments.folder.resolve())
    else:
        run(arguments.seeds)


if __name__ == "__main__":
    main()
