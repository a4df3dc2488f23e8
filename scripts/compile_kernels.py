"""Compiles kernels/*.cu to kernels/ptx/*.ptx, which the program carries, so that a driver is all that
a user needs; and holds what the compiler says of each kernel to kernels/registers.txt.

    pip install nvidia-cuda-nvrtc-cu12==12.1.105
    python scripts/compile_kernels.py            # after a change of a kernel
    python scripts/compile_kernels.py --check    # nothing is written

The version is pinned: it decides which drivers load the PTX (NVRTC 12.1 writes PTX 8.1, which drivers
from 530 on know). PTX is made for compute capability 7.5, the oldest that is supported, and compiled
by the driver for what is there. Each file begins with the SHA-256 of its source, by which the program
knows PTX that is no longer its source's.

Registers and spills are those of 7.5, 8.0 and 9.0. A spill is an error.
"""

import argparse
import ctypes
import hashlib
import importlib.util
import pathlib
import re
import sys

KERNELS = pathlib.Path(__file__).resolve().parent.parent / "kernels"
PTX = KERNELS / "ptx"
TABLE = KERNELS / "registers.txt"
HEADERS = ["classifier.h", "loss.h", "optimisers.h", "philox.h", "pooling.h", "shapes.h", "shared.h", "step.h", "sums.h"]
ARCHITECTURES = ["sm_75", "sm_80", "sm_90"]
OPTIONS = ["--std=c++17"]


def nvrtc():
    spec = importlib.util.find_spec("nvidia.cuda_nvrtc")
    if spec is None:
        sys.exit("NVRTC is missing: pip install nvidia-cuda-nvrtc-cu12==12.1.105")
    folder = pathlib.Path(list(spec.submodule_search_locations)[0])
    # It finds its builtins where they are already loaded.
    for name in ["libnvrtc-builtins.so.12.1", "libnvrtc.so.12"]:
        library = ctypes.CDLL(str(folder / "lib" / name), mode=ctypes.RTLD_GLOBAL)
    return library


def compile_source(library, path, options):
    """The PTX and the compiler's log of a file."""
    program = ctypes.c_void_p()
    count = len(HEADERS)
    sources = (ctypes.c_char_p * count)(*((KERNELS / name).read_bytes() for name in HEADERS))
    names = (ctypes.c_char_p * count)(*(name.encode() for name in HEADERS))
    created = library.nvrtcCreateProgram(
        ctypes.byref(program), path.read_bytes(), path.name.encode(), count, sources, names
    )
    assert created == 0, created
    options = [option.encode() for option in options]
    status = library.nvrtcCompileProgram(
        program, len(options), (ctypes.c_char_p * len(options))(*options)
    )

    def text(what):
        size = ctypes.c_size_t()
        assert getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
        buffer = ctypes.create_string_buffer(size.value)
        assert getattr(library, f"nvrtcGet{what}")(program, buffer) == 0
        return buffer.value.decode()

    log = text("ProgramLog")
    if status:
        sys.exit(f"{path.name}: {log}")
    return text("PTX"), log


def source_hash(path):
    sources = [path, *(KERNELS / name for name in HEADERS)]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def resources(log):
    """Registers and bytes of spills by kernel, as ptxas has them in its log."""
    kernel, found = None, {}
    for line in log.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            kernel = match[1]
            found[kernel] = [0, 0]
        if match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            if kernel:
                found[kernel][1] = int(match[1]) + int(match[2])
        if match := re.search(r"Used (\d+) registers", line):
            found[kernel][0] = int(match[1])
    return found


def alike(committed, found):
    """Whether two tables have the same kernels, and about as many registers for each: the same source was
    seen to need 64 once and 63 ever after."""
    rows = [[line.split() for line in table.splitlines()[1:]] for table in (committed, found)]
    return [row[:2] for row in rows[0]] == [row[:2] for row in rows[1]] and all(
        abs(int(one) - int(other)) <= 2
        for one_row, other_row in zip(*rows)
        for one, other in zip(one_row[2:], other_row[2:], strict=True)
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    library = nvrtc()
    PTX.mkdir(exist_ok=True)
    table, faults = {}, []
    for path in sorted(KERNELS.glob("*.cu")):
        ptx, _ = compile_source(library, path, [*OPTIONS, "--gpu-architecture=compute_75"])
        text = f"// SHA-256 of the source: {source_hash(path)}\n{ptx}"
        made = PTX / f"{path.stem}.ptx"
        if not check:
            made.write_text(text)
        elif not made.exists() or made.read_text() != text:
            faults.append(f"{made.name} is not what {path.name} gives")
        for architecture in ARCHITECTURES:
            options = [*OPTIONS, f"--gpu-architecture={architecture}", "--ptxas-options=-v"]
            _, log = compile_source(library, path, options)
            for kernel, (registers, spills) in resources(log).items():
                table.setdefault(f"{path.stem} {kernel}", []).append(registers)
                if spills:
                    faults.append(f"{kernel} spills {spills} bytes on {architecture}")
    lines = [f"registers a thread, {', '.join(ARCHITECTURES)}; none spills"]
    for kernel, registers in table.items():
        lines.append(f"{kernel:<40}" + "".join(f"{count:>6}" for count in registers))
    text = "\n".join(lines) + "\n"
    if not check:
        TABLE.write_text(text)
    elif not TABLE.exists() or not alike(TABLE.read_text(), text):
        faults.append(f"{TABLE.name} should now be\n{text}")
    print(text, end="")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
