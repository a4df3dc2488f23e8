"""Writes what PyTorch and PIL compute into tests/fixtures, for longhand's tests to compare with.

    pip install torch==2.13.0 numpy pillow safetensors
    python scripts/pytorch_fixtures.py

tutorial.safetensors, odd.safetensors: one network and one batch each, in float64. They hold
`images` (N, C, H, W) and `labels` as bytes, the parameters before training (`before.NAME`), the
`logits`, the mean cross-entropy (`loss`), its gradients (`gradient.NAME`), and the parameters after
10 steps of SGD on that batch (`after.NAME`). The metadata's one entry, `fixture`, is JSON: longhand's
text of the network, mean and deviation of each channel, and the settings of SGD.

tutorial.pth, odd.pth: the parameters of both before training, as torch.save writes a state dict.

optimisers.safetensors: a small network and one batch in the same form, and for each rule of how to
step its first `RULE.loss`, the parameters after 10 steps (`RULE.after.NAME`) and, where they are
averaged, their average (`RULE.average.NAME`). The entry `fixture` has the rules as longhand's
`run.json` writes them.

schedules.json: learning rates of PyTorch's schedulers for a rate of 1, step by step.

pictures/: small PNG and JPEG files, one a mode. pictures.safetensors: what PIL makes of each, as
28 x 28 bytes, under the file's name in gray, (28, 28), and with `.rgb` behind it in colour,
(3, 28, 28).
"""

import json
import struct
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
STEPS = 10
SIDE = 28


def tutorial():
    network = nn.Sequential(
        OrderedDict(
            conv1=nn.Sequential(nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2)),
            conv2=nn.Sequential(nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
            flatten=nn.Flatten(),
            fc=nn.Sequential(nn.Linear(320, 50), nn.Linear(50, 10)),
        )
    )
    text = (
        "input 1x28x28, conv2d 10 5, relu, max_pool2d 2, conv2d 20 5, relu, max_pool2d 2, "
        "flatten, linear 50, linear 10"
    )
    sgd = dict(lr=0.01, momentum=0.5, weight_decay=0.0, nesterov=False)
    write_network("tutorial", network, text, (3, 1, 28, 28), [0.1307], [0.3081], sgd, seed=1)


def odd():
    network = nn.Sequential(
        nn.Conv2d(3, 6, (4, 2), stride=(2, 1), padding=(1, 0)),
        # No ReLU on either side, so that a border of zeros would show.
        nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 1)),
        nn.Conv2d(6, 7, (2, 3), stride=(1, 2), padding=(0, 1)),
        nn.ReLU(),
        nn.MaxPool2d((2, 3), stride=1),
        nn.Flatten(),
        nn.Linear(21, 11),
        nn.ReLU(),
        nn.Linear(11, 7),
    )
    text = (
        "input 3x11x9, conv2d 6 4x2 stride=2x1 padding=1x0, "
        "max_pool2d 3x2 stride=2x1 padding=1, conv2d 7 2x3 stride=1x2 padding=0x1, relu, "
        "max_pool2d 2x3 stride=1, flatten, linear 11, relu, linear 7"
    )
    sgd = dict(lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True)
    mean, deviation = [0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]
    write_network("odd", network, text, (5, 3, 11, 9), mean, deviation, sgd, seed=1)


def write_network(name, network, text, shape, mean, deviation, sgd, seed):
    random = np.random.Generator(np.random.PCG64(seed))
    images = random.integers(0, 256, shape, dtype=np.uint8)
    # Parameters, mean and deviation are float32 numbers, so that engines of either precision
    # start from the same ones.
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = module.weight[0].numel() ** -0.5
            for parameter in module.parameters():
                draw = random.uniform(-bound, bound, parameter.shape).astype(np.float32)
                parameter.data = torch.from_numpy(draw.astype(np.float64))
    mean, deviation = np.float32(mean), np.float32(deviation)
    x = torch.from_numpy(images) / 255
    x = (x - column(mean)) / column(deviation)
    write_checkpoint(name, network)
    with torch.no_grad():
        classes = network(x).shape[1]
    labels = random.integers(0, classes, len(images), dtype=np.uint8)

    tensors = {"images": images, "labels": labels} | named("before", network, lambda p: p)
    optimiser = torch.optim.SGD(network.parameters(), **sgd)
    margins = watch_margins(network)
    for step in range(STEPS):
        optimiser.zero_grad()
        logits = network(x)
        loss = functional.cross_entropy(logits, torch.from_numpy(labels).long())
        loss.backward()
        if step == 0:
            tensors |= {"logits": to_numpy(logits), "loss": to_numpy(loss)}
            tensors |= named("gradient", network, lambda p: p.grad)
        optimiser.step()
    tensors |= named("after", network, lambda p: p)
    # Nearer a kink of ReLU or pooling, float32 could fall on its other side.
    assert min(margins) > 2e-6, f"{name}: {min(margins)} from a kink, take another seed"

    fixture = dict(network=text, mean=mean.tolist(), deviation=deviation.tolist(), **sgd)
    save_file(tensors, FIXTURES / f"{name}.safetensors", {"fixture": json.dumps(fixture)})


def write_checkpoint(name, network):
    """The parameters as float32; but for the tutorial's, as PyTorch may hold them, too: with the
    channels last, and as parts of one storage."""
    state = OrderedDict((name, p.detach().float()) for name, p in network.state_dict().items())
    if name != "tutorial":
        flat = torch.cat([torch.zeros(3, dtype=torch.float32)] + [p.flatten() for p in state.values()])
        offset = 3
        for key, p in state.items():
            part = flat[offset : offset + p.numel()].reshape(p.shape)
            offset += p.numel()
            if p.dim() == 4:
                part = p.to(memory_format=torch.channels_last)
            if p.dim() == 2:
                part = p.t().contiguous().t()
            state[key] = part
    # The name of the folder inside is that of the file.
    torch.save(state, FIXTURES / f"{name}.pth")


# Each rule as longhand writes it; what is not there is as in plain SGD.
RULES = {
    "adam": {"optimiser": {"adam": {}}},
    "adam_l2": {"optimiser": {"adam": {"lr": 0.01, "beta1": 0.8, "beta2": 0.99, "eps": 1e-4, "weight_decay": 0.1}}},
    "adamw": {"optimiser": {"adam": {"weight_decay": 0.01, "decoupled": True}}},
    "adamw_decay": {"optimiser": {"adam": {"lr": 0.01, "weight_decay": 0.5, "decoupled": True}}},
    "smoothed": {"label_smoothing": 0.2},
    "clipped": {"optimiser": {"sgd": {"lr": 0.5}}, "clip_norm": 0.1},
    "averaged": {"optimiser": {"sgd": {"lr": 0.1}}, "average": 0.7},
    "scheduled": {
        "optimiser": {"sgd": {"lr": 0.2, "momentum": 0.9}},
        "schedule": {"one-cycle": {"warm_up": 0.4, "anneal": "cosine"}},
    },
    "everything": {
        "optimiser": {"adam": {"lr": 0.02, "weight_decay": 0.1, "decoupled": True}},
        "schedule": "cosine",
        "clip_norm": 0.3,
        "label_smoothing": 0.1,
        "average": 0.9,
    },
}
SGD = dict(lr=0.01, momentum=0.5, weight_decay=0.0, nesterov=False)
ADAM = dict(lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False)


def complete(rule):
    """The rule with every setting."""
    rule = {"optimiser": {"sgd": {}}, "schedule": "constant", "clip_norm": None,
            "label_smoothing": 0.0, "average": None} | rule
    [(name, settings)] = rule["optimiser"].items()
    return rule | {"optimiser": {name: {"sgd": SGD, "adam": ADAM}[name] | settings}}


def make_optimiser(rule, parameters):
    [(name, settings)] = rule["optimiser"].items()
    settings = dict(settings)
    if name == "sgd":
        return torch.optim.SGD(parameters, **settings)
    settings["betas"] = settings.pop("beta1"), settings.pop("beta2")
    decoupled = settings.pop("decoupled")
    return (torch.optim.AdamW if decoupled else torch.optim.Adam)(parameters, **settings)


def make_scheduler(schedule, optimiser, total):
    """PyTorch's scheduler, to be called after each step; a step schedule after each epoch."""
    schedulers = torch.optim.lr_scheduler
    match schedule:
        case "constant":
            return schedulers.ConstantLR(optimiser, factor=1.0)
        case "cosine":
            return schedulers.CosineAnnealingLR(optimiser, T_max=total)
        case {"step": {"every": every, "gamma": gamma}}:
            return schedulers.StepLR(optimiser, step_size=every, gamma=gamma)
        case {"one-cycle": {"warm_up": warm_up, "anneal": anneal}}:
            return schedulers.OneCycleLR(
                optimiser, max_lr=optimiser.param_groups[0]["lr"], total_steps=total,
                pct_start=warm_up, anneal_strategy={"cosine": "cos"}.get(anneal, anneal),
                cycle_momentum=False,
            )


def optimisers():
    random = np.random.Generator(np.random.PCG64(2))
    images = random.integers(0, 256, (8, 1, 6, 6), dtype=np.uint8)
    labels = random.integers(0, 4, 8, dtype=np.uint8)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 4)
    )
    text = "input 1x6x6, conv2d 3 3, relu, max_pool2d 2, flatten, linear 5, linear 4"
    for parameter in network.parameters():
        draw = random.uniform(-0.4, 0.4, parameter.shape).astype(np.float32)
        parameter.data = torch.from_numpy(draw.astype(np.float64))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    x = (torch.from_numpy(images) / 255 - 0.5) / 0.25
    tensors = {"images": images, "labels": labels} | named("before", network, lambda p: p)
    margins = watch_margins(network)
    rules = {name: complete(rule) for name, rule in RULES.items()}
    for name, rule in rules.items():
        network.load_state_dict(before)
        optimiser = make_optimiser(rule, network.parameters())
        scheduler = make_scheduler(rule["schedule"], optimiser, STEPS)
        average = torch.optim.swa_utils.AveragedModel(
            network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(rule["average"] or 0.5)
        )
        for step in range(STEPS):
            optimiser.zero_grad()
            loss = functional.cross_entropy(
                network(x), torch.from_numpy(labels).long(), label_smoothing=rule["label_smoothing"]
            )
            loss.backward()
            if step == 0:
                tensors[f"{name}.loss"] = to_numpy(loss)
            if rule["clip_norm"]:
                norm = nn.utils.clip_grad_norm_(network.parameters(), rule["clip_norm"])
                assert norm > rule["clip_norm"], f"{name}: nothing to clip"
            optimiser.step()
            if step < STEPS - 1:
                scheduler.step()
            average.update_parameters(network)
        tensors |= named(f"{name}.after", network, lambda p: p)
        if rule["average"]:
            tensors |= named(f"{name}.average", average.module, lambda p: p)
    assert min(margins) > 2e-6, f"optimisers: {min(margins)} from a kink, take another seed"
    fixture = dict(network=text, mean=[0.5], deviation=[0.25], rules=rules)
    save_file(tensors, FIXTURES / "optimisers.safetensors", {"fixture": json.dumps(fixture)})


def schedules():
    cases = []
    for schedule in [
        "constant",
        "cosine",
        {"step": {"every": 2, "gamma": 0.3}},
        {"one-cycle": {"warm_up": 0.3, "anneal": "cosine"}},
        {"one-cycle": {"warm_up": 0.25, "anneal": "linear"}},
    ]:
        per_epoch, total = 7, 42
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = make_scheduler(schedule, optimiser, total)
        rates = []
        for step in range(total):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            epoch_ends = (step + 1) % per_epoch == 0
            if step < total - 1 and ("step" not in schedule or epoch_ends):
                scheduler.step()
        cases.append(dict(schedule=schedule, per_epoch=per_epoch, total=total, rates=rates))
    (FIXTURES / "schedules.json").write_text(json.dumps(cases, indent=1) + "\n")


def column(channels):
    """One number a channel, to be added to (N, C, H, W) in float64."""
    return torch.from_numpy(channels.astype(np.float64)).reshape(1, -1, 1, 1)


def to_numpy(tensor):
    """A copy, which further training leaves alone."""
    return tensor.detach().numpy().copy()


def named(prefix, network, of):
    return {f"{prefix}.{name}": to_numpy(of(p)) for name, p in network.named_parameters()}


def watch_margins(network):
    """A list that grows with each forward pass: the smallest input of a ReLU, by size, and the
    smallest lead of a pooling window's maximum, where zeros behind a ReLU do not count."""
    margins = []

    def relu(_, inputs, __):
        margins.append(inputs[0].abs().min().item())

    def pool(module, inputs, _):
        rows, columns = np.broadcast_to(module.padding, 2)
        x = functional.pad(inputs[0], (columns, columns, rows, rows), value=-torch.inf)
        for axis, kernel, stride in zip(
            (2, 3),
            np.broadcast_to(module.kernel_size, 2).tolist(),
            np.broadcast_to(module.stride, 2).tolist(),
        ):
            x = x.unfold(axis, kernel, stride)
        best = x.flatten(4).topk(2).values
        lead = best[..., 0] - best[..., 1]
        margins.append(lead[lead > 0].min().item())

    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(relu)
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_hook(pool)
    return margins


def pictures():
    folder = FIXTURES / "pictures"
    folder.mkdir(exist_ok=True)
    gray, rgb, alpha = drawing(40, 36), colours(40, 36), slope(40, 36)
    image = Image.fromarray

    image(gray).save(folder / "gray.png")
    image(drawing(97, 61)).save(folder / "wide.png")
    image(drawing(13, 9)).save(folder / "small.png")
    image(drawing(28, 28)).save(folder / "exact.png")
    # PIL cuts 16-bit gray off at 255.
    image(gray.astype(np.uint16) * 2).save(folder / "gray_16.png")
    image(gray).convert("1", dither=Image.Dither.NONE).save(folder / "one_bit.png")
    image(rgb).save(folder / "rgb.png")
    image(np.dstack([gray, alpha])).save(folder / "gray_alpha.png")
    image(np.dstack([rgb, alpha])).save(folder / "rgba.png")
    palette = image(rgb).quantize(16, dither=Image.Dither.NONE)
    palette.save(folder / "palette.png")
    palette.save(folder / "palette_transparent.png", transparency=0)
    image(gray).save(folder / "gray.jpg", quality=85)
    image(rgb).save(folder / "rgb.jpg", quality=85)
    image(colours(97, 61)).save(folder / "wide.jpg", quality=85)
    image(rgb).save(folder / "progressive.jpg", quality=85, progressive=True)

    # PIL reads these, dropping the low bytes, but does not write them.
    low = slope(40, 36)[::-1]
    write_png_16(folder / "gray_alpha_16.png", 4, np.dstack([gray, alpha]), low)
    write_png_16(folder / "rgb_16.png", 2, rgb, low)
    write_png_16(folder / "rgba_16.png", 6, np.dstack([rgb, alpha]), low)

    expected = {}
    for path in sorted(folder.iterdir()):
        picture = Image.open(path)
        expected[path.name] = small(picture, "L")
        expected[f"{path.name}.rgb"] = small(picture, "RGB").transpose(2, 0, 1).copy()
    save_file(expected, FIXTURES / "pictures.safetensors")


def small(picture, mode):
    return np.asarray(picture.convert(mode).resize((SIDE, SIDE), Image.BILINEAR))


def slope(width, height):
    """Rising to the right and to the bottom."""
    y, x = np.mgrid[0:height, 0:width]
    return (255 * (x + y) // (width + height - 2)).astype(np.uint8)


def drawing(width, height):
    """Something like a 9 in white, on a dark slope."""
    picture = Image.fromarray(slope(width, height) // 3)
    pen = ImageDraw.Draw(picture)
    thick = max(1, min(width, height) // 9)

    def at(x, y):
        return round(x * (width - 1)), round(y * (height - 1))

    pen.ellipse([at(0.3, 0.12), at(0.7, 0.5)], outline=250, width=thick)
    pen.line([at(0.68, 0.35), at(0.6, 0.85), at(0.35, 0.9)], fill=230, width=thick)
    return np.asarray(picture)


def colours(width, height):
    """The drawing, its mirror image, and a slope, as red, green and blue."""
    gray = drawing(width, height)
    return np.dstack([gray, gray[:, ::-1], slope(width, height)])


def write_png_16(path, colour, high, low):
    """A PNG of two bytes a level: `high` (H, W, C), and `low` (H, W) for all channels."""
    height, width, _ = high.shape
    levels = (high.astype(np.uint16) << 8 | low[..., None]).astype(">u2")
    data = b"".join(b"\0" + line.tobytes() for line in levels)

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data, 9))
        + chunk(b"IEND", b"")
    )


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    # The order of a sum depends on the number of threads.
    torch.set_num_threads(1)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    tutorial()
    odd()
    optimisers()
    schedules()
    pictures()
