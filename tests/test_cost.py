"""What a model costs: operations against formulas, and that every figure is there. No times."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import zoo
from benchmarks import measure, operations
from benchmarks.costs import Others, times
from benchmarks.measures.cost import devices
from benchmarks.summaries import cost
from conftest import TINY_SYNTH, Run
from zoo import runtime
from zoo.model import GenreModel
from zoo.opened import precision_here
from zoo.results import read_result

FRAMES = 626  # of mel, 10 s at 16 kHz
MEL_MACS = 96 * 257 * FRAMES


class Figures(NamedTuple):
    """A run that was measured."""

    folder: Path
    table: pd.DataFrame
    summary: pd.DataFrame


@pytest.fixture(scope="module")
def figures(python: Run, tmp_path_factory: pytest.TempPathFactory) -> Figures:
    place = tmp_path_factory.mktemp("cost")
    folder, root = place / "run", Path(__file__).parents[1]
    options = [*TINY_SYNTH, "model=linear", "epochs=1", "threads=1", "batch_size=4"]
    for command in (
        ["zoo.train", *options, f"output_dir={folder}"],
        ["benchmarks.measure", str(folder), "cost"],
    ):
        done = python(*command, cwd=root)
        assert done.returncode == 0, done.stderr
    return Figures(
        folder, measure.read(folder, "cost"), cost.summarize(folder, read_result(folder))
    )


def counted(name: str, seconds: float = 10.0, **choices: str) -> operations.Operations:
    model = zoo.create_model(name, num_classes=8, **choices).eval()
    return operations.count(model, torch.randn(1, round(seconds * model.sample_rate)))


def test_operations_of_a_convolutional_network_equal_the_formula() -> None:
    """`fcn`: five convolutions of 3 x 3, then a linear layer."""
    found = counted("fcn")
    model = zoo.create_model("fcn", num_classes=8).eval()
    expected, outputs = MEL_MACS, []
    for module in model.backend.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, x, y: outputs.append((m, y.shape)))
    with torch.no_grad():
        model(torch.randn(1, 160_000))
    for conv, shape in outputs:
        expected += shape[1:].numel() * conv.in_channels * conv.kernel_size[0] ** 2
    assert len(outputs) == 5 and outputs[0][1] == (1, 64, 96, FRAMES)
    assert found.macs == expected + model.backend.num_features * 8
    assert found.front_end_macs == MEL_MACS


def test_fourier_transforms_are_counted_apart() -> None:
    found = counted("linear")
    assert found.macs == MEL_MACS + 2 * 96 * 8
    assert found.fft_flops == pytest.approx(FRAMES * 2.5 * 512 * 9, abs=1)
    constant_q = counted("crnn", frontend="cqt")
    assert constant_q.fft_flops == 0 and constant_q.front_end_macs > found.front_end_macs


def test_recurrent_layers_and_attention_are_counted() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(6, 5, batch_first=True)
            self.attention = nn.MultiheadAttention(5, 1, batch_first=True)

        def forward(self, x_BND: torch.Tensor) -> torch.Tensor:
            states_BND, _ = self.lstm(x_BND)
            query = states_BND.unsqueeze(1)
            return nn.functional.scaled_dot_product_attention(query, query, query)

    length = 7
    found = operations.count(Both().eval(), torch.randn(1, length, 6))
    recurrent = 4 * 5 * (6 + 5) * length
    assert found.macs == recurrent + 2 * length * length * 5


@pytest.mark.parametrize("name", ["ast", "wav2vec2", "encodec"])
def test_operations_of_transformers_are_those_of_their_layers(name: str) -> None:
    """At least the products of all linear layers, and what attention and recurrence add."""
    model = zoo.create_model(name, num_classes=8).eval()
    linear: list[int] = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda m, x, y: linear.append(y.numel() * m.in_features))
    length = max(16_000, model.min_samples)
    found = operations.count(model, torch.randn(1, length))
    assert found.macs > sum(linear) + found.front_end_macs
    assert operations.count(model, torch.randn(2, length)).macs == pytest.approx(2 * found.macs)


def test_every_figure_is_there_once_a_device(figures: Figures) -> None:
    summary = figures.summary
    names = [line.split()[0] for line in (cost.__doc__ or "").split("what\n", 1)[1].splitlines()]
    documented = {name.strip(",") for name in names if "_" in name or name in cost.AS_THEY_ARE}
    assert set(summary["figure"]) == documented | {"latency_95_ms", "real_time"}
    assert not summary[["what", "figure"]].duplicated().any()
    assert summary["what"].nunique() == len(devices())
    precision = read_result(figures.folder).precision  # bf16 where the processor computes that
    assert (summary["threads"] == 1).all() and (summary["precision"] == precision).all()
    assert (summary["value"] >= 0).all() and np.isfinite(summary["value"]).all()


def test_figures_that_can_be_known_are_right(figures: Figures) -> None:
    value = figures.summary[figures.summary["what"] == "cpu"].set_index("figure")["value"]
    model = GenreModel.from_pretrained(figures.folder)
    assert value["parameters"] == sum(p.numel() for p in model.parameters())
    files = (figures.folder / "model").iterdir()
    assert value["disk"] == sum(file.stat().st_size for file in files)
    chunks, frames = 4, 3 * 16_000 // 256 + 1  # of 3 s, to cover 10 s
    assert value["macs"] == chunks * (96 * 257 * frames + 2 * 96 * 8)
    assert value["busy"] <= 1
    assert value["real_time_with_decoding"] < value["real_time"]
    assert value["latency_ms"] <= value["latency_95_ms"]
    assert value["memory_base"] > 50e6 and value["memory_training"] >= value["memory_scoring"]


def test_the_summary_is_of_what_was_timed(figures: Figures) -> None:
    table, summary = figures.table, figures.summary.set_index("figure")
    table = table[table["device"] == "cpu"]
    single = table["value"][(table["figure"] == "scoring") & (table["batch"] == 1)].to_numpy()
    assert len(single) >= 30 and summary["repeats"]["latency_ms"] == len(single)
    assert summary["value"]["latency_95_ms"] == pytest.approx(1000 * np.percentile(single, 95))
    steps = table["value"][table["figure"] == "training"].to_numpy()
    speed = summary["value"]["training_clips_per_second"]
    assert speed == pytest.approx(4 / np.median(steps)) and len(steps) >= 3
    scored = table[table["figure"] == "scoring"]
    by_batch = {b: b / np.median(t["value"]) for b, t in scored.groupby("batch")}
    assert list(by_batch) == [1, 2, 4, 8, 16, 32, 64]
    assert summary["value"]["clips_per_second"] == pytest.approx(max(by_batch.values()))


def test_calls_are_repeated_within_a_time() -> None:
    calls: list[int] = []
    assert len(times(lambda: calls.append(0), 60.0, 5)) == 5 and len(calls) == 6
    assert len(times(lambda: calls.append(0), 0.0, 5)) == 1 and len(calls) == 7
    assert len(times(lambda: time.sleep(0.06), 0.1, 5)) == 2


def test_others_are_seen() -> None:
    """A second of arithmetic in another process is in their share, not in ours."""
    others = Others()
    busy = "import time; t = time.process_time()\nwhile time.process_time() - t < 1: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    wall, used, own = np.subtract(others._now(), others.before)
    assert used - own > 0.8 and own < 0.5
    assert others.share() * wall * (os.cpu_count() or 1) > 0.8


def test_the_peak_of_memory_is_that_of_the_process_alone() -> None:
    """Linux counts the parent's memory to that of a process that it starts."""
    ballast = np.ones(60_000_000)  # 480 MB
    code = "import torch; from zoo.runtime import peak_memory\nx = torch.ones(%d)\n"
    code += "print(peak_memory(torch.device('cpu')))"
    peaks = [
        int(subprocess.run([sys.executable, "-c", code % n], capture_output=True, text=True).stdout)
        for n in (1, 50_000_000)
    ]
    assert peaks[1] - peaks[0] == pytest.approx(200e6, rel=0.2) and len(ballast)


def test_precision_is_the_runs_on_its_device_and_what_suits_elsewhere(figures: Figures) -> None:
    result = read_result(figures.folder)
    here = runtime.device_name(runtime.processes().device)
    on = lambda device, precision: result.model_copy(  # noqa: E731
        update={
            "hardware": result.hardware.model_copy(update={"device": device}),
            "precision": precision,
        }
    )
    assert precision_here(on(here, "bf16")) == "bf16"
    assert precision_here(on("another", "fp32")) == "fp32"
    assert precision_here(on("another", "fp16")) in ("fp32", "bf16")
