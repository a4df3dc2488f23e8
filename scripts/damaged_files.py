"""Writes tests/damaged: files that are cut, damaged or hostile. What each must be answered with is
in tests/damaged/errors.json, and tests/damaged.rs holds the program to it.

    python scripts/damaged_files.py

Each is at most 4 KB. The pickles are put together opcode by opcode, because Python's own pickler
would not write most of them.
"""

import gzip
import json
import struct
import zipfile
import zlib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "damaged"
NETWORK = "input 1x2x2, flatten, linear 4"
# Of NETWORK.
TENSORS = {"1.weight": [4, 4], "1.bias": [4]}


def save(name, contents):
    assert len(contents) <= 4096, (name, len(contents))
    (FOLDER / name).write_bytes(contents)


# IDX.


def idx(sizes, elements, code=8):
    header = bytes([0, 0, code, len(sizes)])
    return header + b"".join(struct.pack(">I", size) for size in sizes) + elements


def idx_files():
    whole = idx([2, 8, 8], bytes(128))
    save("empty.idx", b"")
    save("text.idx", b"<!DOCTYPE html>\n<title>404 Not Found</title>\n")
    save("type.idx", idx([2, 8, 8], bytes(128), code=10))
    save("floats.idx", idx([1, 2, 2], bytes(16), code=13))
    save("no_dimensions.idx", idx([], b""))
    save("nine_dimensions.idx", idx([1] * 9, b"\0"))
    save("rank.idx", idx([64], bytes(64)))
    save("no_image.idx", idx([0, 8, 8], b""))
    save("cut_header.idx", whole[:9])
    save("cut.idx", whole[:-1])
    save("too_long.idx", whole + b"\0")
    # Of which four gigabytes are allowed, and none comes.
    save("promises_4_gigabytes.idx", idx([65536, 256, 256], b""))
    save("promises_too_much.idx", idx([2**32 - 1, 2**32 - 1, 2**32 - 1], b""))
    save("large_image.idx", idx([1, 4097, 4097], b""))
    packed = gzip.compress(whole, mtime=0)
    save("cut.idx.gz", packed[:-9])
    save("checksum.idx.gz", packed[:-8] + bytes(4) + packed[-4:])
    # A thousand times as large as its file, and as promised, but for one byte.
    save("bomb.idx.gz", gzip.compress(idx([3999, 32, 32], bytes(3999 * 1024 - 1)), mtime=0))


# safetensors.


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def whole_tensors(**metadata):
    header, data = {}, b""
    for name, shape in TENSORS.items():
        count = 4
        for size in shape[1:]:
            count *= size
        values = struct.pack(f"<{count}f", *range(count))
        offsets = [len(data), len(data) + len(values)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        data += values
    if metadata:
        about = {
            "version": "0.1.0",
            "network": NETWORK,
            "mean": [0.5],
            "deviation": [0.5],
            "trained_on": "nothing",
        }
        about.update(metadata)
        header["__metadata__"] = {"longhand": json.dumps(about)}
    return header, data


def safetensors_files():
    header, data = whole_tensors(classes=[])
    whole = safetensors(header, data)
    save("empty.safetensors", b"")
    save("text.safetensors", b"no tensors here, only words that go on for a while")
    save("cut_header.safetensors", whole[:50])
    save("cut.safetensors", whole[:-1])
    save("too_long.safetensors", whole + b"\0")
    save("huge_header.safetensors", struct.pack("<Q", 2**63) + whole[8:])
    save("deep_header.safetensors", safetensors(b"[" * 4000))
    save("nan.safetensors", safetensors(header, data[:-4] + struct.pack("<f", float("nan"))))

    def changed(name, change, **metadata):
        header, data = whole_tensors(**(metadata or {"classes": []}))
        change(header)
        save(name, safetensors(header, data))

    def overlap(header):
        header["1.bias"]["data_offsets"] = [0, 16]

    def beyond(header):
        header["1.weight"]["data_offsets"] = [2**62, 2**62 + 64]

    def type_i32(header):
        header["1.bias"]["dtype"] = "I32"

    def misshapen(header):
        header["1.weight"]["shape"] = [2, 8]

    def promise(header):
        header["1.weight"]["shape"] = [2**32, 2**32]

    def unknown(header, name="2.bias"):
        header[name] = {"dtype": "F32", "shape": [0], "data_offsets": [80, 80]}

    def missing(header):
        del header["1.bias"]
        header["1.weight"]["data_offsets"] = [0, 64]

    nothing = lambda header: None  # noqa: E731
    changed("overlap.safetensors", overlap)
    changed("beyond.safetensors", beyond)
    changed("i32.safetensors", type_i32)
    changed("misshapen.safetensors", misshapen)
    changed("promise.safetensors", promise)
    changed("unknown.safetensors", unknown)
    header, data = whole_tensors(classes=[])
    missing(header)
    save("missing.safetensors", safetensors(header, data[:64]))
    changed("no_network.safetensors", lambda header: header.pop("__metadata__"))
    changed("other_metadata.safetensors", nothing, network=7)
    changed("no_layer.safetensors", nothing, network="input 1x2x2, conv2d")
    changed("huge_network.safetensors", nothing, network="input 1x1x1, flatten, linear 60000000")
    changed("wide_network.safetensors", nothing, network="input 1x8000x8000, flatten, linear 4")
    changed("classes.safetensors", nothing, classes=["a"] * 9)
    changed("deviation.safetensors", nothing, deviation=[0])
    # A terminal must not be told to change its title, its colour or the line above.
    escape = "\x1b]0;title\x07\x1b[31m\x1b[1Aok"
    changed("escape.safetensors", nothing, network=f"input 1x2x2, {escape} 3")
    changed("escape_name.safetensors", lambda header: unknown(header, escape))


# PyTorch's.


def text(words):
    return b"X" + struct.pack("<I", len(words.encode())) + words.encode()


def number(n):
    if n < 0 or n >= 2**31:
        size = (n.bit_length() + 8) // 8
        return b"\x8a" + bytes([size]) + n.to_bytes(size, "little", signed=True)
    return b"J" + struct.pack("<i", n)


def numbers(items):
    return b"(" + b"".join(map(number, items)) + b"t"


def tensor(key, shape, strides, offset=0, storage="FloatStorage"):
    pieces = [
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        text("storage"),
        b"ctorch\n" + storage.encode() + b"\n",
        text(key),
        text("cpu"),
        number(20),
        b"tQ",
        number(offset),
        numbers(shape),
        numbers(strides),
        b"\x89ccollections\nOrderedDict\n)RtR",
    ]
    return b"".join(pieces)


def state_dict(**tensors):
    entries = b"".join(text(name) + value for name, value in tensors.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + entries + b"u."


def archive(path, pickle, compression=zipfile.ZIP_STORED, **others):
    files = {"data.pkl": pickle, "byteorder": b"little"}
    files["data/0"] = struct.pack("<20f", *range(20))
    files.update(others)
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, contents in files.items():
            if contents is not None:
                file.writestr(zipfile.ZipInfo(f"net/{name}"), contents, compression)
    assert path.stat().st_size <= 4096, path


def pth_files():
    weight = tensor("0", [4, 4], [4, 1])
    bias = tensor("0", [4], [1], offset=16)

    def pth(name, pickle=None, weight=weight, bias=bias, **options):
        entries = {"1.weight": weight, "1.bias": bias}
        whole = state_dict(**{name: value for name, value in entries.items() if value})
        archive(FOLDER / f"{name}.pth", whole if pickle is None else pickle, **options)
        return whole

    whole = pth("whole")
    contents = (FOLDER / "whole.pth").read_bytes()
    (FOLDER / "whole.pth").unlink()
    save("cut.pth", contents[: len(contents) // 2])
    save("checksum.pth", contents.replace(struct.pack("<f", 7), struct.pack("<f", 8), 1))
    save("old.pth", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")
    pth("no_pickle", **{"data.pkl": None})
    pth("no_storage", **{"data/0": None})
    pth("big_endian", byteorder=b"big")
    pth("compressed", compression=zipfile.ZIP_DEFLATED)
    pth("missing", bias=None)
    pth("misshapen", weight=tensor("0", [2, 8], [8, 1]))
    pth("f64", weight=tensor("0", [4, 4], [4, 1], storage="DoubleStorage"))
    pth("beyond", weight=tensor("0", [4, 4], [8, 1]))
    pth("beyond_far", weight=tensor("0", [4, 4], [2**50, 2**50], offset=2**50))
    pth("negative", weight=tensor("0", [4, 4], [-4, 1]))
    pth("promise", weight=tensor("0", [100000, 100000], [0, 0]))
    pth("strides", weight=tensor("0", [4, 4], [1]))
    pth("climbs", weight=tensor("../../secret", [4, 4], [4, 1]))
    pth("unknown", pickle=whole[:-2] + text("2.bias") + bias + b"u.")
    pth("epoch", pickle=whole[:-2] + text("epoch") + number(5) + b"u.")
    pth("list", pickle=b"\x80\x02].")
    pth("no_dictionary", pickle=b"\x80\x02" + tensor("0", [4], [1]) + b".")
    # What Python's unpickler would do.
    pth("system", pickle=b"\x80\x02cposix\nsystem\n" + text("touch harmed") + b"\x85R.")
    pth("eval", pickle=b"\x80\x02cbuiltins\neval\n" + text("exit()") + b"\x85R.")
    pth("getattr", pickle=b"\x80\x02ctorch\nload\n" + text("x") + b"\x85R.")
    pth("instance", pickle=b"\x80\x02(iposix\nsystem\n.")
    pth("protocol", pickle=b"\x80\x05" + whole[2:])
    pth("cut_pickle", pickle=whole[:-3])
    pth("no_stack", pickle=b"\x80\x02R.")
    pth("no_memo", pickle=b"\x80\x02h\x07.")
    pth("not_utf8", pickle=b"\x80\x02X\x02\x00\x00\x00\xff\xff.")
    pth("promised_text", pickle=b"\x80\x02X\xff\xff\xff\xff.")
    # Each tuple holds the one before it twice: 2^400 if it were written out.
    pth("laughs", pickle=b"\x80\x02)" + b"q\0h\0\x86" * 400 + b".")
    pth("deep", pickle=b"\x80\x02)" + b"\x85" * 3000 + b".")
    pth("escape_name", pickle=b"\x80\x02c\x1b]0;title\x07\nx\n.")


# Networks.


def network_files():
    save("empty.txt", b"")
    save("unknown.txt", b"conv2d 2 3, softmax")
    save("not_utf8.txt", b"flatten, linear \xff\xfe")
    save("numbers.txt", b"flatten, linear 99999999999999999999999999")
    save("parameters.txt", b"flatten, linear 2000000000")
    save("activations.txt", b"conv2d 100000 1, conv2d 100000 1")
    save("padding.txt", b"conv2d 1 1 padding=18446744073709551615")
    save("layers.txt", b"relu," * 800 + b"relu")
    save("relus.txt", b"conv2d 4000 3," + b"relu," * 300 + b"flatten, linear 4")
    save("memory.txt", b"flatten, linear 100000, linear 1000, linear 4")
    save("columns.txt", b"conv2d 300 8 padding=200, flatten, linear 4")
    save("fit.txt", b"conv2d 2 9, flatten, linear 4")
    save("classes.txt", b"flatten, linear 3")
    save("escape.txt", b"flatten, \x1b]0;title\x07\x1b[31mlinear 4")


# Pictures.


def chunk(kind, contents):
    check = zlib.crc32(kind + contents)
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", check)


def png(width, height, data, depth=8, colour=0, before=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before
    return start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg(width, height):
    frame = struct.pack(">BHHB", 8, height, width, 1) + bytes([1, 0x11, 0])
    scan = bytes([1, 1, 0, 0, 63, 0])

    def segment(marker, contents):
        return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(contents)) + contents

    tables = segment(0xDB, bytes(1) + bytes([1] * 64))
    tables += segment(0xC4, bytes([0, 1] + [0] * 15 + [0]))
    tables += segment(0xC4, bytes([16, 1] + [0] * 15 + [0]))
    scans = segment(0xDA, scan) + bytes(64)
    return b"\xff\xd8" + tables + segment(0xC0, frame) + scans + b"\xff\xd9"


def picture_files():
    whole = png(8, 8, zlib.compress(bytes(72)))
    save("empty.png", b"")
    save("text.png", b"a thousand words")
    save("gif.png", b"GIF89a\x01\0\x01\0\0\0\0;")
    save("cut.png", whole[:40])
    save("checksum.png", whole[:-20] + b"x" * 4 + whole[-16:])
    save("no_pixel.png", png(0, 0, zlib.compress(b"")))
    save("60000.png", png(60000, 60000, zlib.compress(bytes(1000))))
    save("16000.png", png(16000, 16000, zlib.compress(bytes(1000)), depth=16, colour=6))
    save("16000_gray.png", png(16000, 16000, zlib.compress(bytes(1000))))
    text_bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2_000_000), 9))
    save("text_bomb.png", png(8, 8, b"no deflate", before=text_bomb))
    save("60000.jpg", jpeg(60000, 60000))
    save("cut.jpg", jpeg(8, 8)[:-30])


# A run's state.


def state_files():
    record = {
        "longhand": "0.1.0",
        "command": [],
        "status": "running",
        "started": "2026-11-24T00:00:00Z",
        "machine": {"cpu": "", "engine": "lanes", "threads": 1},
        "data": {
            "name": "nothing",
            "train_images": 200,
            "test_images": 50,
            "classes": 4,
            "mean": [0.5],
            "deviation": [0.5],
            "files": [],
        },
        "network": NETWORK,
        "parameters": 20,
        "recipe": {
            "epochs": 5,
            "batch_size": 32,
            "seed": 0,
            "optimiser": {"sgd": {"lr": 0.01, "momentum": 0.5, "weight_decay": 0, "nesterov": False}},
            "schedule": "constant",
            "clip_norm": None,
            "label_smoothing": 0,
            "average": None,
            "validation": 0,
            "patience": None,
        },
    }
    judged = {"loss_sum": 1.0, "correct": 1, "examples": 1}
    epoch = {"epoch": 1, "seconds": 1, "train": judged, "test": judged, "validation": None, "lr": 0.1}

    def state(name, change=lambda metadata: None, key="longhand-run", bad=None):
        metadata = json.loads(json.dumps({"record": record, "history": [epoch], "steps": 7}))
        change(metadata)
        header, data = {"__metadata__": {key: json.dumps(metadata)}}, b""
        for vector in ["parameters", "first_moment", "second_moment", "average"]:
            values = struct.pack("<20f", *([float("inf")] * 20 if vector == bad else range(20)))
            offsets = [len(data), len(data) + 80]
            header[vector] = {"dtype": "F32", "shape": [20], "data_offsets": offsets}
            data += values
        save(f"{name}.state", safetensors(header, data))

    def set_in(*path):
        *path, last, value = path

        def change(metadata):
            for part in path:
                metadata = metadata[part]
            metadata[last] = value

        return change

    # Whole, and of other data and another network than the test's.
    state("other")
    state("key", key="longhand")
    state("record", set_in("record", 7))
    state("network", set_in("record", "network", "input 1x2x2, linear 4"))
    state("huge_network", set_in("record", "network", "input 1x1x1, flatten, linear 60000000"))
    state("steps", set_in("steps", 8))
    state("history", set_in("history", []))
    state("epoch", set_in("history", 0, "epoch", 4000000000))
    state("images", set_in("record", "data", "train_images", 2**63))
    state("batch", set_in("record", "recipe", "batch_size", 0))
    state("infinite", bad="average")
    state("escape", set_in("record", "network", "input 1x2x2, \x1b]0;title\x07"))


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        if old.name != "errors.json":
            old.unlink()
    idx_files()
    safetensors_files()
    pth_files()
    network_files()
    picture_files()
    state_files()
