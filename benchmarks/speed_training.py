"""Speed of training: the loop, the layout and precision, and the front end's share."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from benchmarks.timing import Ratio, Work, share, times_as_fast
from zoo import create_model, runtime
from zoo.config import compose
from zoo.model import GenreModel, config_from
from zoo.prepare import decode_tracks, load_manifest
from zoo.signals import Signals
from zoo.trainer import Trainer

STEPS = 4  # a measurement


def make_trainer(folder: Path) -> tuple[Trainer, Any]:
    """Return a trainer of the default model and recipe on a small `synth`, and its config."""
    sizes = ["dataset.artists=16", "dataset.tracks=1"]  # 10 steps an epoch
    config = compose("train", [*sizes, f"cache_dir={folder}", f"output_dir={folder}"])
    manifest = load_manifest(config)
    sketch = create_model("crnn")
    precision = runtime.choose_precision("auto", sketch.backend.precision, device())
    data = decode_tracks(manifest, config, sketch.sample_rate)
    clip = data.clip_seconds(config.clip_seconds, sketch.min_samples)
    model = GenreModel(config_from(config, manifest.classes, False, clip))
    return Trainer(config, model, data, runtime.make_accelerator(precision), folder, 0.0), config


def device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def loop() -> Ratio:
    """Our training loop against a bare one over the same model, its data in memory."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, config = make_trainer(Path(folder))
        chunks, where = trainer.chunks, trainer.accelerator.device
        every = trainer.data.store.gather(
            trainer.rows, 0 * trainer.rows, int(trainer.data.store.lengths.max())
        )
        x_NT = torch.from_numpy(every).float().to(where) / 32768
        y_N = torch.from_numpy(trainer.targets[trainer.rows]).to(where)
        model = create_model("crnn", num_classes=8).to(where)
        take = step(model, trainer.accelerator.autocast)

        def bare() -> None:
            for _ in range(chunks.steps_per_epoch):
                batch = torch.randint(len(x_NT), (config.batch_size,), device=where)
                take(x_NT[batch, : chunks.length], y_N[batch])

        def ours() -> None:
            trainer.progress.step = 0
            trainer._train_epoch(bar, signals)

        with tqdm(disable=True) as bar, Signals() as signals:
            return times_as_fast(ours, bare)


def step(model: GenreModel, autocast: Callable[[], Any]) -> Callable[[Tensor, Tensor], None]:
    """Return what a plain training step does."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def take(x_BT: Tensor, y_B: Tensor) -> None:
        with autocast():
            loss = functional.cross_entropy(model.train()(x_BT).float(), y_B)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return take


def batch_of(model: GenreModel, size: int = 8) -> tuple[Tensor, Tensor]:
    """Return a batch of noise of the model's clip length, and labels."""
    samples = int(model.config.clip_seconds * model.sample_rate)
    x_BT, y_B = torch.randn(size, samples) / 10, torch.arange(size) % len(model.config.classes)
    return x_BT.to(device()), y_B.to(device())


def in_form(model: GenreModel, channels_last: bool, precision: str) -> Callable[[], Any]:
    """Move the model to the device in a memory layout, and return the autocast of a precision."""
    model.backend.channels_last = channels_last
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.to(device()).to(memory_format=layout)
    return partial(torch.autocast, device().type, torch.bfloat16, enabled=precision == "bf16")


def steps(name: str, plain: bool = False) -> tuple[GenreModel, Tensor, Work]:
    """Return a model, a batch, and a few training steps with it: in the model's own layout and
    precision, or `plain`, in float32 and NCHW."""
    model = create_model(name, num_classes=8)
    precision = runtime.choose_precision("auto", model.backend.precision, device())
    form = (False, "fp32") if plain else (model.backend.channels_last, precision)
    take = step(model, in_form(model, *form))
    x_BT, y_B = batch_of(model)
    return model, x_BT, lambda: [take(x_BT, y_B) for _ in range(STEPS)]


def layout_and_precision(name: str) -> Ratio:
    """The model's own layout and precision against plain float32 NCHW."""
    return times_as_fast(steps(name)[2], steps(name, plain=True)[2])


def front_end(name: str) -> Ratio:
    """The front end's share of a training step, in percent."""
    model, x_BT, work = steps(name)

    def part() -> None:
        with torch.no_grad():
            for _ in range(STEPS):
                model.frontend(x_BT)

    return share(part, work)
