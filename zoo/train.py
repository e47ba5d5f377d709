"""`python -m zoo.train model=crnn`: from a configuration to a run folder with its result.

usage: python -m zoo.train [model=NAME] [frontend=NAME] [dataset=NAME] [dataset.path=PATH]
                           [epochs=N] [batch_size=N] [seed=N] [checkpoint=FILE] [output_dir=DIR]
                           [key=value ...]
       python -m zoo.train --cfg job    (print the configuration and stop)
"""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from zoo.datasets.base import Manifest
from zoo.errors import InputError, check_choice
from zoo.results import FILE, INCIDENTAL, flat
from zoo.signals import exiting
from zoo.sources import RUN_CONFIG


def main(config: Any) -> Path:
    """Train, evaluate the best weights on the test split, and return the run folder."""
    import torch

    from zoo import audit, checkpoint, finetune, report, runtime
    from zoo.model import GenreModel
    from zoo.prepare import decode_tracks, load_manifest
    from zoo.probe import Probe
    from zoo.trainer import Trainer

    started = time.monotonic()
    runtime.keep_freed_memory()
    threads = runtime.set_threads(config.threads)
    precision, sample_rate, min_samples = check(config)
    source = None if checkpoint.is_there(config) else finetune.source_of(config)
    manifest = runtime.on_main(lambda: load_manifest(config))
    folder = runtime.on_main(lambda: claim(config, manifest.name))
    if (folder / FILE).exists():
        runtime.on_main(lambda: print(report.conclusion(folder)))
        return folder

    accelerator = runtime.make_accelerator(precision, config.tracker, folder)
    accelerator.init_trackers("logs")
    with writing(folder), exiting():
        data = runtime.on_main(lambda: decode_tracks(manifest, config, sample_rate, folder))
        audited = runtime.on_main(lambda: audit.check(manifest, data, config, folder))
        torch.manual_seed(config.seed)
        clip = data.clip_seconds(config.clip_seconds, min_samples)
        model = GenreModel(finetune.model_config(config, manifest, clip))
        is_probe = config.finetune.name in finetune.PROBES
        said = [finetune.take_weights(model, source, not is_probe)] if source else []
        if not (going_on := checkpoint.is_there(config)):
            said += finetune.name_origin(model, config)
        source = None  # or its weights would stay in memory
        said += finetune.adapt(model, config)
        kind = Probe if is_probe else Trainer
        training = kind(config, model, data, accelerator, folder, started)
        if isinstance(training, Trainer) and going_on and checkpoint.resume(training):
            said.append(f"continuing after {training.progress}")
        runtime.on_main(lambda: describe(config, data.manifest, folder))
        accelerator.print("\n".join([report.plan(training, precision, threads), *said]))
        training.run()
        report.conclude(training, threads, precision, audited)
    return folder


def check(config: Any) -> tuple[str, int, int]:
    """Refuse what does not fit before any data is read; return the precision, and the sample rate
    (Hz) and the shortest clip (samples) of the model."""
    from zoo import finetune, runtime
    from zoo.audit import MODES
    from zoo.chunks import EVALUATIONS
    from zoo.model import GenreModel, config_from
    from zoo.recipe import read_phases

    sketch = GenreModel(config_from(config, ("two", "classes"), False, config.clip_seconds))
    device = runtime.processes().device
    check_choice("evaluation", config.evaluation, EVALUATIONS)
    check_choice("audit", config.audit, MODES)
    finetune.check(config)
    finetune.adapt(sketch, config)
    read_phases(config.optimizer)
    runtime.check_tracker(config.tracker)
    runtime.check_batch(config.batch_size)
    precision = runtime.choose_precision(config.precision, sketch.backend.precision, device)
    return precision, sketch.sample_rate, sketch.min_samples


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk into a sentence that says what is left."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        from zoo import checkpoint

        last = checkpoint.file(folder, "last")
        kept = f"{last} is whole" if last.exists() else "there is no checkpoint yet"
        raise InputError(
            f"{error.filename or folder}: {error.strerror}; {kept}. Make room, then continue with "
            f"the same settings, output_dir={folder} resume=true."
        ) from error


def describe(config: Any, manifest: Manifest, folder: Path) -> None:
    """Write what the run is of: its configuration and its splits."""
    from zoo.prepare import write_split

    write_split(manifest, folder)
    part = folder / f"{RUN_CONFIG}.part"
    part.write_text(OmegaConf.to_yaml(config))
    part.replace(folder / RUN_CONFIG)


def claim(config: Any, dataset: str) -> Path:
    """Return the run's folder, made. Raises `InputError` if another run is in it."""
    if config.output_dir is None:
        if config.resume:
            raise InputError("resume=true needs output_dir=DIR, the folder of the run to continue.")
        place = Path("runs") / dataset / config.model.name
        folder = place / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        number = 1
        while folder.exists():
            folder, number = folder.with_name(f"{folder.name[:19]}-{number}"), number + 1
    else:
        folder = Path(config.output_dir)
    held = [name for name in (FILE, RUN_CONFIG, "checkpoints") if (folder / name).exists()]
    if held and not config.resume:
        raise InputError(
            f"output_dir={folder} already holds a run ({held[0]}); "
            "give another folder, or resume=true to continue it."
        )
    if held and (changed := _changed(config, folder)):
        raise InputError(
            f"output_dir={folder} holds a run of another recipe (it differs in "
            f"{', '.join(changed)}); give another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output_dir={folder} cannot be made: {error.strerror}.") from error
    return folder


def _changed(config: Any, folder: Path) -> list[str]:
    """Return the keys in which the run in the folder differs, but for the incidental ones."""
    if not (folder / RUN_CONFIG).exists():
        return []
    contents: list[Any] = [
        OmegaConf.to_container(c) for c in (OmegaConf.load(folder / RUN_CONFIG), config)
    ]
    before, now = map(flat, contents)
    keys = [k for k in {**before, **now} if k not in INCIDENTAL]
    return [k for k in keys if before.get(k) != now.get(k)]


if __name__ == "__main__":
    from zoo.config import command

    command("train", main, __doc__ or "")
