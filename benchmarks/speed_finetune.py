"""Speed of fine-tuning an AST: ours against the Trainer of transformers with its own extractor."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.speed_training import device, step
from benchmarks.timing import Ratio, Work, times_as_fast
from zoo import adapters, create_model, runtime
from zoo.config import compose
from zoo.model import GenreModel
from zoo.scores import to_waveform

SECONDS, CLASSES, STEPS, ROUNDS = 10.0, 8, 4, 3
ON_GPU = {"batch": 32, "config": {}}  # AST-base
ON_CPU = {"batch": 8, "config": {"hidden_size": 192, "num_attention_heads": 3,
          "intermediate_size": 768}}  # AST-tiny  # fmt: skip


def case() -> dict[str, Any]:
    """Return the size of what is timed here."""
    return ON_GPU if device().type == "cuda" else ON_CPU


def checkpoint(folder: Path) -> Path:
    """Write an AST with random weights, for clips of `SECONDS`."""
    extractor = transformers.ASTFeatureExtractor()
    config = transformers.ASTConfig(max_length=extractor.max_length, **case()["config"])
    config.num_labels = CLASSES
    transformers.ASTForAudioClassification(config).save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def clips() -> tuple[np.ndarray, np.ndarray]:
    """Return int16 waveforms `[B,T]` at 16 kHz, as the store gives them, and labels."""
    size = case()["batch"]
    samples = np.random.default_rng(0).normal(0, 3000, (size, int(SECONDS * 16_000)))
    return samples.astype(np.int16), np.arange(size) % CLASSES


def precision() -> str:
    """Return the precision of both."""
    return runtime.choose_precision("auto", "bf16", device())


def model(folder: Path) -> GenreModel:
    """Return our model with the checkpoint's weights."""
    return create_model("ast", checkpoint=folder).to(device())


def steps(ours: GenreModel) -> Work:
    """Return a few of our training steps, from int16 samples in memory on."""
    samples, labels = clips()
    y_B = torch.from_numpy(labels).to(device())
    autocast = torch.autocast(device().type, torch.bfloat16, enabled=precision() == "bf16")
    take = step(ours, lambda: autocast)
    return lambda: [take(to_waveform(samples, device()), y_B) for _ in range(STEPS)]


def theirs(folder: Path) -> Work:
    """Return as many steps of transformers' Trainer, its extractor in the collator."""
    network = transformers.ASTForAudioClassification.from_pretrained(folder)
    extractor = transformers.ASTFeatureExtractor.from_pretrained(folder)
    samples, labels = clips()
    data = [
        {"waveform": x.astype(np.float32) / 32768, "label": y}
        for x, y in zip(samples, labels, strict=True)
    ] * STEPS

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        waveforms = [row["waveform"] for row in rows]
        features = extractor(waveforms, sampling_rate=16_000, return_tensors="pt")
        return {**features, "labels": torch.tensor([row["label"] for row in rows])}

    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=len(samples),
        max_steps=STEPS,
        bf16=precision() == "bf16",
        use_cpu=device().type == "cpu",
        remove_unused_columns=False,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        network,
        arguments,
        train_dataset=data,
        data_collator=collate,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer.train


def full() -> Ratio:
    """Clips a second of ours over theirs, all weights learning."""
    with tempfile.TemporaryDirectory() as name:
        folder = checkpoint(Path(name))
        return times_as_fast(steps(model(folder)), theirs(folder), rounds=ROUNDS)


def memory() -> Ratio | None:
    """GPU memory of a step with LoRA over that with all weights learning, in percent."""
    if device().type != "cuda":
        return None
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        folder = checkpoint(Path(name))
        for method in ("full", "lora"):
            ours = model(folder)
            if method == "lora":
                given = [f"checkpoint={folder}", "finetune=lora"]
                adapters.inject(ours, compose("train", given).finetune)
            torch.cuda.reset_peak_memory_stats()
            steps(ours)()
            peaks.append(torch.cuda.max_memory_allocated())
            del ours
            torch.cuda.empty_cache()
    return Ratio((100 * peaks[1] / peaks[0],), " %")


def short_whisper() -> Ratio:
    """Training steps of a Whisper on clips of `SECONDS` without silence up to 30 s over those
    with."""
    usual, short = (
        create_model("whisper", num_classes=CLASSES, overrides=[f"model.backend.short={on}"])
        for on in ("false", "true")
    )
    return times_as_fast(steps(short.to(device())), steps(usual.to(device())), rounds=ROUNDS)
