"""`python -m zoo.train model=crnn`: from a configuration to a run folder with its result.

usage: python -m zoo.train [model=NAME] [frontend=NAME] [dataset=NAME] [dataset.path=PATH]
                           [epochs=N] [batch_size=N] [seed=N] [output_dir=DIR] [key=value ...]
       python -m zoo.train --cfg job    (print the configuration and stop)
"""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from zoo.errors import InputError
from zoo.results import FILE, flat

CONFIG = "config.yaml"
MAY_DIFFER = ("output_dir", "resume", "cache_dir", "tracker", "threads")  # when a run is resumed


def main(config: Any) -> Path:
    """Train, evaluate the best weights on the test split, and return the run folder."""
    import torch

    from zoo import report, runtime
    from zoo.evaluate import measure, with_thresholds
    from zoo.model import GenreModel, config_from
    from zoo.prepare import decode_tracks, load_manifest, write_split
    from zoo.trainer import Trainer

    started = time.monotonic()
    runtime.keep_freed_memory()
    threads = runtime.set_threads(config.threads)
    # two classes stand in for the real ones: what does not fit is refused before data is read
    sketch = GenreModel(config_from(config, ("a", "b"), False, config.clip_seconds))
    device = runtime.PartialState().device
    precision = runtime.choose_precision(config.precision, sketch.backend.precision, device)
    runtime.check_tracker(config.tracker)
    manifest = runtime.on_main(lambda: load_manifest(config))
    folder = runtime.on_main(lambda: claim(config, manifest.name))
    if (folder / FILE).exists():
        print(report.conclusion(folder))
        return folder

    accelerator = runtime.make_accelerator(precision, config.tracker, folder)
    accelerator.init_trackers("logs")
    with accelerator.main_process_first():
        data = decode_tracks(manifest, config, sketch.sample_rate, folder)
    if accelerator.is_main_process:
        write_split(data.manifest, folder)
        (folder / CONFIG).write_text(OmegaConf.to_yaml(config))

    torch.manual_seed(config.seed)
    clip = data.clip_seconds(config.clip_seconds, sketch.min_samples)
    classes, multilabel = manifest.classes, bool(manifest.multilabel)
    model = GenreModel(config_from(config, classes, multilabel, clip))
    trainer = Trainer(config, model, data, accelerator, folder)
    if config.resume and trainer.resume():
        accelerator.print(f"continuing after epoch {trainer.progress.epoch}")
    accelerator.print(trainer.plan(precision, threads))
    try:
        trainer.run()
    except KeyboardInterrupt:
        accelerator.print(f"continue with the same settings, output_dir={folder} resume=true")
        raise

    best = with_thresholds(trainer.best, data, accelerator, config.batch_size)
    if accelerator.is_main_process:
        best.save_pretrained(folder / "model")
    accelerator.wait_for_everyone()
    saved = GenreModel.from_pretrained(folder).to(accelerator.device)
    measured = {
        split: measure(saved, data, split, accelerator, config.batch_size)
        for split in ("validation", "test")
    }
    accelerator.end_training()
    if accelerator.is_main_process:
        result = report.make_result(trainer, saved, measured, threads, precision, started)
        report.write(folder, result, measured, trainer.history)
        print(report.conclusion(folder))
    return folder


def claim(config: Any, dataset: str) -> Path:
    """Return the run's folder, made. Raises `InputError` if another run is in it."""
    if config.output_dir is None:
        place = Path("runs") / dataset / config.model.name
        folder = place / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        number = 1
        while folder.exists():
            folder, number = folder.with_name(f"{folder.name[:19]}-{number}"), number + 1
    else:
        folder = Path(config.output_dir)
    held = [name for name in (FILE, CONFIG, "checkpoints") if (folder / name).exists()]
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
    """Return the keys in which the run in the folder differs, but for what may differ."""
    if not (folder / CONFIG).exists():
        return []
    contents: list[Any] = [
        OmegaConf.to_container(c) for c in (OmegaConf.load(folder / CONFIG), config)
    ]
    before, now = map(flat, contents)
    keys = [k for k in {**before, **now} if k not in MAY_DIFFER]
    return [k for k in keys if before.get(k) != now.get(k)]


if __name__ == "__main__":
    from zoo.config import command

    command("train", main, __doc__ or "")
