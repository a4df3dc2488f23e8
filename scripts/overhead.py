"""Times whole default runs of two builds of longhand in turn, and prints how much longer the second
takes.

    python scripts/overhead.py BEFORE AFTER [--rounds 9] [--flags "--epochs 5"]

BEFORE and AFTER are programs, as in `target/release/longhand`; say, of a commit and of its parent. A
run is from start to end, every file written. The first of a pair changes with each round, and the
median of the pairs' ratios is what to quote: the machine's load moves both.
"""

import argparse
import shlex
import statistics
import subprocess
import tempfile
import time


def seconds(program, flags):
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [program, "train", "--quiet", "--out", f"{folder}/run", *shlex.split(flags)]
        # What it says of an error goes to the screen.
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            raise SystemExit(1)
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--flags", default="")
    arguments = parser.parse_args()

    ratios = []
    for round in range(arguments.rounds):
        programs = {"before": arguments.before, "after": arguments.after}
        order = [*programs] if round % 2 == 0 else [*programs][::-1]
        # By place, for both may be the same program, to see what the noise is.
        times = {place: seconds(programs[place], arguments.flags) for place in order}
        before, after = times["before"], times["after"]
        ratios.append(after / before)
        print(f"before {before:.2f} s  after {after:.2f} s  ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
