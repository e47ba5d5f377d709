"""`dataset.held_out`: genres that a run never meets but as queries of retrieval."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.measure import main as measure
from benchmarks.measure import read
from benchmarks.summaries.held_out import summarize
from conftest import write_music
from zoo.config import compose
from zoo.datasets.base import Manifest
from zoo.datasets.splits import with_splits
from zoo.datasets.subsets import without
from zoo.errors import InputError
from zoo.pooling import Run
from zoo.prepare import load_manifest
from zoo.results import read_result
from zoo.train import main as train

SPLITS = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2


def songs(*labels: str) -> Manifest:
    rows = [
        (f"{label}/{number}", f"{label}/{number}.wav", label, split)
        for label in labels
        for number, split in enumerate(SPLITS)
    ]
    return Manifest("songs", pd.DataFrame(rows, columns=["track", "path", "label", "split"]))


def test_held_out_genres_are_in_no_split() -> None:
    before = songs("jazz", "metal", "polka", "rock")
    left = without(before, ["rock", "jazz"])
    assert left.classes == ("metal", "polka") and left.split_name == "given, without jazz, rock"
    kept = before.frame[before.frame["label"].isin(left.classes)]
    assert left.frame["track"].tolist() == kept["track"].tolist()
    assert set(left.frame["split"]) == {"train", "validation", "test"}


def test_a_track_of_several_labels_is_left_out_for_one_of_them() -> None:
    left = without(songs("jazz", "jazz|loud", "loud|metal", "metal", "polka"), ["jazz"])
    assert set(left.frame["label"]) == {"loud|metal", "metal", "polka"} and left.multilabel
    assert without(songs("jazz|loud", "metal", "polka"), ["jazz", "loud"]).multilabel
    with pytest.raises(InputError, match=r"class loud is in the test split but has no training"):
        frame = songs("jazz|loud", "loud", "metal").frame
        only = (frame["label"] != "loud") | (frame["split"] == "test")
        without(Manifest("songs", frame[only]), ["jazz"])


def test_the_split_of_the_others_stays() -> None:
    before = songs("jazz", "metal", "polka", "rock")
    made = with_splits(before, 5, 1, 0)
    left, kept = without(made, ["rock"]), made.frame["label"] != "rock"
    assert left.frame["split"].tolist() == made.frame["split"][kept].tolist() and left.fold == 1


def test_what_is_refused() -> None:
    before = songs("jazz", "metal", "polka")
    with pytest.raises(InputError, match=r"\[jaz\]: songs has no genre 'jaz'; did you mean jazz\?"):
        without(before, ["jaz"])
    with pytest.raises(InputError, match=r"held_out=\[jazz, metal\] leaves 1 of 3 genres of songs"):
        without(before, ["jazz", "metal"])
    frame = songs("jazz", "metal", "polka", "rock").frame
    rare = frame[(frame["split"] != "validation") | (frame["label"] == "rock")]
    with pytest.raises(InputError, match="leaves 3 of 4 genres and no track in split validation"):
        without(Manifest("songs", rare), ["rock"])
    with pytest.raises(InputError, match=r"dataset\.held_out=jazz must be a list"):
        compose("train", ["dataset.held_out=jazz"])


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("music")
    write_music(folder, ["jazz", "metal", "polka", "rock"], per_label=10)
    tune = ["model=linear", "clip_seconds=1", "epochs=1", "patience=1", "frontend.n_mels=16"]
    return [*tune, "dataset=folder", f"dataset.path={folder}", "dataset.folds=3"]


@pytest.fixture(scope="module")
def run(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "linear"
    given = [*arguments, "dataset.held_out=[polka,rock]", f"output_dir={folder}"]
    return train(compose("train", given))


def test_queries_of_genres_that_a_run_never_met(run: Path, arguments: list[str]) -> None:
    result = read_result(run)
    assert result.protocol.classes == ["jazz", "metal"]
    measure([str(run), "held_out"])
    table = read(run, "held_out")
    whole = load_manifest(compose("train", arguments)).split("test").frame
    assert set(table["label"]) == {"jazz", "metal", "polka", "rock"}
    for _, rows in table.groupby("network"):
        assert rows["track"].tolist() == whole["track"].tolist()
    summary = summarize(run, result).set_index(["what", "network", "figure"])
    queries = whole["label"].isin(["polka", "rock"]).sum()
    assert set(summary.loc["held-out genres"]["num_tracks"]) == {queries}
    assert set(summary.loc["learned genres"]["num_tracks"]) == {len(whole) - queries}
    value = summary["value"]["held-out genres"]
    assert value["trained", "average_precision"] > value["chance", "average_precision"]
    shares = [(whole["label"] == label).sum() - 1 for label in ("polka", "rock")]
    assert value["chance", "r_precision"] == pytest.approx(
        np.average(shares, weights=np.add(shares, 1)) / (len(whole) - 1)
    )


def test_such_a_run_is_ranked_by_itself(run: Path, arguments: list[str], tmp_path: Path) -> None:
    other = train(compose("train", [*arguments, f"output_dir={tmp_path / 'linear'}"]))
    runs = [Run(folder, read_result(folder)) for folder in (run, other)]
    assert runs[0].experiment != runs[1].experiment
    assert runs[0].result.protocol.split == f"{runs[1].result.protocol.split}, without polka, rock"
    assert runs[0].result.recipe != runs[1].result.recipe
    with pytest.raises(InputError, match=r"takes a run that left some out"):
        measure([str(other), "held_out"])
    with pytest.raises(InputError, match=r"give a run with dataset\.held_out"):
        summarize(other, runs[1].result)
