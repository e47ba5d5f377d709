"""`dataset.shots` and `dataset.share`: a few training tracks of each class, or a share of them."""

from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from zoo.config import compose
from zoo.datasets.base import Manifest
from zoo.datasets.splits import with_splits
from zoo.datasets.subsets import with_share, with_shots
from zoo.errors import InputError
from zoo.prepare import load_manifest

SPLITS = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2


def songs(labels: tuple[str, ...] = ("jazz", "metal", "polka")) -> Manifest:
    """Ten tracks of each label (or labels joined by |), six of them to train on."""
    rows = [
        (f"{label}/{number}", f"{label}/{number}.wav", label, split)
        for label in labels
        for number, split in enumerate(SPLITS)
    ]
    return Manifest("songs", pd.DataFrame(rows, columns=["track", "path", "label", "split"]))


def tracks(manifest: Manifest, split: str = "train") -> set[str]:
    return set(manifest.split(split).frame["track"])


@pytest.mark.parametrize("shots", [1, 5, 6])
def test_so_many_tracks_of_each_class_and_all_others(shots: int) -> None:
    before = songs()
    few = with_shots(before, shots, seed=0)
    assert few.split("train").frame["label"].value_counts().to_dict() == dict.fromkeys(
        ("jazz", "metal", "polka"), shots
    )
    assert tracks(few) <= tracks(before)
    for split in ("validation", "test"):
        assert tracks(few, split) == tracks(before, split)
    assert few.classes == before.classes
    assert few.split_name == f"given, {shots} shots of seed 0"


def test_the_same_tracks_in_whatever_order() -> None:
    before = songs()
    frame = before.frame.sample(frac=1, random_state=3)
    assert tracks(with_shots(Manifest("other", frame), 2, seed=0)) == tracks(
        with_shots(before, 2, seed=0)
    )


def test_more_shots_are_the_fewer_and_others() -> None:
    assert tracks(with_shots(songs(), 2, seed=0)) < tracks(with_shots(songs(), 4, seed=0))


def test_other_seeds_draw_other_tracks() -> None:
    drawn = {frozenset(tracks(with_shots(songs(), 2, seed))) for seed in range(5)}
    assert len(drawn) == 5


def test_several_labels_count_for_each() -> None:
    before = songs(("jazz", "jazz|loud", "loud|metal"))
    assert before.multilabel
    few = with_shots(before, 4, seed=0).split("train")
    counts = few.targets().sum(axis=0)
    assert dict(zip(few.classes, counts >= 4, strict=True)) == dict.fromkeys(few.classes, True)
    assert len(few.frame) < 18 and counts.min() == 4
    one = with_shots(before, 1, seed=0).split("train")
    assert len(one.frame) <= 3  # one for each label, at most


def test_more_shots_than_tracks_are_refused_by_name() -> None:
    before = songs()
    fewer = before.select(~before.frame["track"].isin(["metal/0", "metal/1"]))
    with pytest.raises(InputError, match="songs has 4 training tracks of metal; give 4 or fewer"):
        with_shots(fewer, 5, seed=0)
    none = before.select((before.frame["label"] != "polka") | (before.frame["split"] != "train"))
    with pytest.raises(InputError, match="songs has 0 training tracks of polka; add some"):
        with_shots(none, 1, seed=0)


def test_shots_of_folds() -> None:
    before = songs()
    parts = [with_shots(with_splits(before, 5, fold, 0), 2, seed=0) for fold in range(5)]
    assert [part.fold for part in parts] == [0, 1, 2, 3, 4]
    tested = [track for part in parts for track in tracks(part, "test")]
    assert sorted(tested) == sorted(before.frame["track"])
    for part in parts:
        counts = part.split("train").frame["label"].value_counts()
        assert counts.to_dict() == {"jazz": 2, "metal": 2, "polka": 2}
        assert not tracks(part) & tracks(part, "test")


def test_the_configuration_asks_for_them(tmp_path: Path) -> None:
    file = tmp_path / "songs.csv"
    songs().frame.to_csv(file, index=False)
    given = ["dataset=manifest", f"dataset.path={file}", "dataset.shots=3"]
    few = load_manifest(compose("train", given))
    assert tracks(few) == tracks(with_shots(songs(), 3, seed=0)) and len(tracks(few)) == 9
    other = load_manifest(compose("train", [*given, "dataset.split_seed=1"]))
    assert tracks(other) != tracks(few)
    assert len(tracks(load_manifest(compose("train", given[:2])))) == 18
    with pytest.raises(InputError, match=r"dataset\.shots=0 must be at least 1"):
        compose("train", [*given, "dataset.shots=0"])


def counted(manifest: Manifest) -> dict[str, int]:
    return manifest.split("train").frame["label"].value_counts().to_dict()


@pytest.mark.parametrize(("share", "number"), [(0.05, 1), (0.3, 2), (0.5, 3), (0.99, 6)])
def test_a_share_of_each_class_and_all_others(share: float, number: int) -> None:
    before = songs()
    few = with_share(before, share, seed=0)
    assert counted(few) == dict.fromkeys(("jazz", "metal", "polka"), number)
    assert tracks(few) == tracks(with_shots(before, number, seed=0))
    for split in ("validation", "test"):
        assert tracks(few, split) == tracks(before, split)
    assert few.split_name == f"given, {100 * share:g} % of training, seed 0"


def test_a_share_is_stratified_and_leaves_no_class_out() -> None:
    before = songs(tuple("abcdefgh"))
    small = (before.frame["label"] == "a") & (before.frame["split"] == "train")
    uneven = before.select(~small | before.frame["track"].isin(["a/0"]))
    assert counted(with_share(uneven, 0.5, seed=0)) == {"a": 1} | dict.fromkeys("bcdefgh", 3)
    assert with_share(uneven, 1.0, seed=0) is uneven


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    labels = ("jazz", "jazz|loud", "loud|metal", "metal", "polka|jazz|metal")
    for before in (songs(), songs(labels)):
        shares = [tracks(with_share(before, share, seed=4)) for share in (0.05, 0.1, 0.4, 0.7, 1.0)]
        assert all(less <= more for less, more in pairwise(shares))
        assert len(shares[0]) < len(shares[2]) < len(shares[4])
    few = with_share(songs(labels), 0.5, seed=4).split("train")
    assert (2 * few.targets().sum(axis=0) >= songs(labels).split("train").targets().sum(0)).all()


def test_a_share_of_tracks_without_a_label_is_drawn_too() -> None:
    frame = songs(("jazz", "jazz|loud", "bare")).frame.replace({"label": {"bare": ""}})
    before = Manifest("songs", frame, classes=("jazz", "loud"), multilabel=True)
    assert counted(with_share(before, 0.5, seed=0))[""] == 3
    assert "" not in counted(with_shots(before, 2, seed=0))


def test_the_configuration_asks_for_a_share(tmp_path: Path) -> None:
    file = tmp_path / "songs.csv"
    songs().frame.to_csv(file, index=False)
    given = ["dataset=manifest", f"dataset.path={file}", "dataset.share=0.5"]
    half = load_manifest(compose("train", given))
    assert tracks(half) == tracks(with_share(songs(), 0.5, seed=0)) and len(tracks(half)) == 9
    other = load_manifest(compose("train", [*given, "dataset.split_seed=1"]))
    assert tracks(other) != tracks(half) and other.split_name != half.split_name
    for wrong in ("0", "1.1", "-0.5"):
        with pytest.raises(InputError, match="must be between 1e-06 and 1"):
            compose("train", [*given[:2], f"dataset.share={wrong}"])
