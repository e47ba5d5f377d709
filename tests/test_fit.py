"""Every architecture learns: from scratch, with the default recipe, 16 tracks by heart."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import zoo
from conftest import Run
from zoo.datasets import synth
from zoo.registry import target

SECONDS = 2.0
COPIES = 10  # of a training track in an epoch, so that epochs are not all checkpoints


def is_pretrained(model: str) -> bool:
    """Tell whether a model is of use with a checkpoint only."""
    return hasattr(target("model", model), "settings")


@pytest.fixture(scope="module")
def sixteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of two tracks of each genre, for training (`COPIES` of each), validation, test."""
    folder = tmp_path_factory.mktemp("sixteen")
    tracks = synth.load(folder, artists=2, tracks=1, seconds=SECONDS).frame
    rows = []
    for split in ("validation", "test", *(f"train{copy}" for copy in range(COPIES))):
        for number, (path, label) in enumerate(zip(tracks["path"], tracks["label"], strict=True)):
            copy = folder / f"{split}_{number}.flac"
            shutil.copy(path, copy)
            rows.append({"path": copy.name, "label": label, "split": split.rstrip("0123456789")})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.mark.slow
@pytest.mark.parametrize("name", [m for m in zoo.list_models() if not is_pretrained(m)])
def test_fits_sixteen_tracks(name: str, sixteen: Path, python: Run, tmp_path: Path) -> None:
    data = ("dataset=manifest", f"dataset.path={sixteen}")
    done = python(
        "zoo.train",
        f"model={name}",
        *data,
        "epochs=40",
        "augment.time_shift=0",  # a shifted track has a seam, by which a network may know it
        "output_dir=run",
        cwd=tmp_path,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["metrics"]["test"]["accuracy"] == 1.0
