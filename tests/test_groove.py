"""The Groove MIDI Dataset: its own info.csv and audio."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from zoo.config import compose
from zoo.datasets import groove
from zoo.datasets.base import Manifest
from zoo.errors import InputError
from zoo.prepare import load_manifest
from zoo.prepare import main as prepare

HEADER = (
    "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,"
    "duration,split"
)
DRUMMERS = (1, 3, 5, 7, 8)


def row(drummer: int, number: int, style: str, kind: str, split: str, audio: bool = True) -> str:
    """A line as info.csv has it."""
    session = f"drummer{drummer}/session{1 + number % 2}"
    stem = f"{session}/{number}_{style.replace('/', '-')}_100_{kind}_4-4"
    sound = f"{stem}.wav" if audio else ""
    return (
        f"drummer{drummer},{session},{session}/{number},{style},100,{kind},4-4,{stem}.mid,{sound},"
        f"0.250000,{split}"
    )


def rows() -> list[str]:
    """Beats of two styles by five drummers in all splits; others that are to be left out."""
    splits, lines = ("train", "train", "train", "validation", "test"), [HEADER]
    for drummer in DRUMMERS:
        for number, split in enumerate(splits):
            lines.append(row(drummer, number, ("rock", "rock/indie")[number % 2], "beat", split))
            lines.append(row(drummer, 10 + number, "jazz/swing", "beat", split))
            lines.append(row(drummer, 20 + number, "jazz", "fill", split))
            lines.append(row(drummer, 30 + number, "rock", "fill", split))
        lines.append(row(drummer, 40, "jazz", "beat", "test", audio=False))
    lines.append(row(8, 50, "gospel", "beat", "train"))
    lines.append(row(8, 51, "gospel", "beat", "test"))
    lines += [row(d, 60, "afrobeat", "beat", split) for d, split in ((1, "train"), (8, "test"))]
    return lines


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    (folder / "groove").mkdir()
    (folder / "groove" / "info.csv").write_text("\n".join(rows()) + "\n")
    random = np.random.RandomState(0)
    for line in rows()[1:]:
        if name := line.split(",")[8]:
            file = folder / "groove" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, random.uniform(-0.5, 0.5, 11_025), 44_100, "PCM_16")
    return folder


def load(root: Path, name: str = "groove", *others: str) -> Manifest:
    return load_manifest(compose("train", [f"dataset={name}", f"dataset.path={root}", *others]))


@pytest.mark.parametrize("start", ["", "groove"])
def test_the_official_split_of_beats(root: Path, start: str) -> None:
    found = load(root / start)
    assert (found.name, found.split_name) == ("groove", "official")
    assert found.classes == ("jazz", "rock")  # gospel and afrobeat are not in every split
    assert found.frame["split"].value_counts().to_dict() == {
        "train": 30,
        "validation": 10,
        "test": 10,
    }
    first = found.frame.iloc[0]
    assert first["track"] == "drummer1/session1/0" and first["bpm"] == "100"
    assert (first["artist"], first["group"]) == ("drummer1", "drummer1/session1")
    assert all(Path(path).is_file() for path in found.frame["path"])
    assert set(found.frame["beat_type"]) == {"beat"}
    assert found.licence == "CC BY 4.0"


def test_fills_are_there_when_asked_for(root: Path) -> None:
    fills, both = (
        load(root, "groove", "dataset.beat_type=fill"),
        load(root, "groove", "dataset.beat_type=all"),
    )
    assert fills.name == "groove-fill" and set(fills.frame["beat_type"]) == {"fill"}
    assert both.name == "groove-all" and len(both.frame) == 100


def test_drummers_of_groove_drummer_are_in_one_split(root: Path) -> None:
    found = load(root, "groove_drummer")
    assert found.split_name == "drummer"
    assert found.classes == ("afrobeat", "jazz", "rock")  # afrobeat has no track in validation
    assert (found.frame.groupby("artist")["split"].nunique() == 1).all()
    drummers = found.frame.groupby("split")["artist"].agg(set).to_dict()
    assert drummers["test"] == {"drummer1"} and drummers["validation"] == {"drummer3", "drummer5"}
    assert set(found.split("test").frame["label"]) == set(found.split("train").frame["label"])


def test_preparation(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(compose("prepare", ["model=linear", "dataset=groove", f"dataset.path={root}"]))
    shown = capsys.readouterr().out
    assert "all 50 files are there" in shown and "CC BY 4.0" in shown and "Gillick" in shown
    assert "groove: 50 tracks at 16000 Hz" in shown and "split official" in shown


def test_refusals(tmp_path: Path, root: Path) -> None:
    def refused(path: Path, *others: str) -> str:
        with pytest.raises(InputError) as caught:
            load(path, "groove", *others)
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
        return str(caught.value)

    assert "is not a folder; get it at https://magenta" in refused(tmp_path / "nowhere")
    missing = refused(tmp_path)
    assert f"dataset.path={tmp_path} has no info.csv; get it at" in missing
    assert "let dataset.download=true fetch it" in missing
    (tmp_path / "info.csv").write_text("drummer,session\ndrummer1,1\n")
    assert "info.csv has no column 'id'" in refused(tmp_path)
    assert "dataset.protocol=artist must be one of official" in refused(
        root, "dataset.protocol=artist"
    )
    assert "dataset.beat_type=beats must be one of" in refused(root, "dataset.beat_type=beats")


# --- groove8: the same drummers, eight styles of them


def test_groove8_can_be_split_by_drummer(shared: Path, tmp_path: Path) -> None:
    table = pd.read_csv(shared / "data" / "groove8" / "manifest.csv").drop(columns="split")
    table["path"] = str(shared / "data" / "groove8") + "/" + table["path"]
    table.to_csv(tmp_path / "groove8.csv", index=False)
    file = tmp_path / "groove8.csv"
    found = load_manifest(compose("train", ["dataset=manifest", f"dataset.path={file}"]))
    assert (found.frame.groupby("artist")["split"].nunique() == 1).all()
    assert len(set(found.split("test").frame["label"])) == len(found.classes) == 8
    with pytest.raises(InputError, match="class afrobeat has 2 artists but takes 3"):
        load_manifest(
            compose("train", ["dataset=manifest", f"dataset.path={file}", "dataset.folds=3"])
        )


def test_the_drummers_that_are_held_out_play_what_is_asked_of_them(shared: Path) -> None:
    table = pd.read_csv(shared / "data" / "groove8" / "manifest.csv")
    split = table["artist"].map(groove.HELD_OUT).fillna("train")
    labels = table.groupby(split)["label"].agg(set)
    assert len(labels["test"]) == len(labels["train"]) == 8
    assert labels["test"] - labels["validation"] == {"afrobeat"}
