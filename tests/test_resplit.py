"""`split=artist|group|random|planted`: splits of one size that differ in what they leak."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from conftest import TINY_SYNTH
from test_datasets import column, music, refusal, shuffled
from zoo.audio import decode
from zoo.config import compose
from zoo.datasets import planting
from zoo.datasets.base import SPLITS, Manifest
from zoo.datasets.resplit import KINDS, resplit
from zoo.datasets.splits import with_splits
from zoo.prepare import load_manifest
from zoo.results import read_result, recipe_hash

SMALL = ("dataset.artists=16", "dataset.tracks=1", "dataset.seconds=3")  # 128 tracks


def made(found: Manifest, kind: str, cache: Path, **other: object) -> Manifest:
    given = {"folds": None, "fold": 0, "seed": 0, "planted": 0.2, "cache": cache, **other}
    return resplit(found, kind, **given)  # type: ignore[arg-type]


def sizes(found: Manifest) -> pd.DataFrame:
    return pd.crosstab(found.frame["label"], found.frame["split"])


def single(num_artists: int = 40) -> Manifest:
    """Artists of two classes each, groups of six artists; the given split is of no use."""
    frame = music(num_artists).frame
    group = "album" + (frame["artist"].str[6:].astype(int) // 2).astype(str)
    return Manifest("music", frame.assign(group=group, split="train", fold="3"), source="my.csv")


def synth(*arguments: str) -> Manifest:
    return load_manifest(compose("train", ["dataset=synth", *SMALL, *arguments]))


# --- artist, group, random


def test_artist_is_the_split_that_is_made_where_there_is_none(tmp_path: Path) -> None:
    found = made(single(), "artist", tmp_path)
    assert found.split_name == "artist-seed0" and found.fold is None
    assert column(found, "split") == column(with_splits(music(), None, 0, 0), "split")
    assert found.frame.groupby("artist")["split"].nunique().max() == 1
    assert made(single(), "artist", tmp_path, seed=1).split_name == "artist-seed1"


def test_unknown_artists_stand_for_themselves(tmp_path: Path) -> None:
    frame = single().frame
    unknown = frame["artist"].isin(["artist0", "artist1", "artist2"])
    frame.loc[unknown, "artist"] = ""
    frame.loc[frame["group"] == "album1", "group"] = ""
    found = made(Manifest("m", frame), "artist", tmp_path).frame
    assert found[found["artist"] != ""].groupby("artist")["split"].nunique().max() == 1
    assert found[found["artist"] == ""].groupby("group")["split"].nunique()["album0"] == 1


def test_group_keeps_groups_apart(tmp_path: Path) -> None:
    found = made(single(), "group", tmp_path)
    assert found.split_name == "group-seed0"
    assert found.frame.groupby("group")["split"].nunique().max() == 1
    assert column(found, "artist") == column(single(), "artist")
    assert set(found.frame["split"]) == set(SPLITS)


@pytest.mark.parametrize("seed", range(3))
def test_random_has_the_sizes_of_artist(tmp_path: Path, seed: int) -> None:
    by_artist, found = (made(single(), kind, tmp_path, seed=seed) for kind in ("artist", "random"))
    assert found.split_name == f"random-seed{seed}"
    assert sizes(found).equals(sizes(by_artist))
    crossing = found.frame.groupby("artist")["split"].nunique()
    assert (crossing > 1).mean() > 0.5
    assert column(made(shuffled(single()), "random", tmp_path, seed=seed), "split") == (
        column(found, "split")
    )
    test = set(found.split("test").frame["track"])
    assert len(test & set(by_artist.split("test").frame["track"])) < 0.5 * len(test)
    assert column(found, "artist") == column(single(), "artist")


def test_random_of_several_labels_has_the_same_totals(tmp_path: Path) -> None:
    frame = single().frame
    frame.loc[::3, "label"] += "|loud"
    frame["label"] += "|" + frame.index.astype(str).str[-1]  # few have the same labels
    several = Manifest("m", frame)
    by_artist, found = (made(several, kind, tmp_path) for kind in ("artist", "random"))
    counts = [m.frame["split"].value_counts().to_dict() for m in (by_artist, found)]
    assert found.multilabel and counts[0] == counts[1]
    assert column(found, "split") != column(by_artist, "split")


@pytest.mark.parametrize("kind", ["artist", "group", "random"])
def test_folds_of_each_kind_partition_the_tracks(tmp_path: Path, kind: str) -> None:
    folds = [made(single(80), kind, tmp_path, folds=5, fold=k) for k in range(5)]
    tests = [set(found.split("test").frame["track"]) for found in folds]
    assert sum(map(len, tests)) == len(single(80).frame) == len(set().union(*tests))
    assert {f.split_name for f in folds} == {f"{kind}-5fold-seed0"}
    assert [f.fold for f in folds] == list(range(5))
    if kind == "random":
        other = [made(single(80), "artist", tmp_path, folds=5, fold=k) for k in range(5)]
        assert all(sizes(a).equals(sizes(b)) for a, b in zip(folds, other, strict=True))


def test_tracks_outside_the_given_split_stay_outside(tmp_path: Path) -> None:
    frame = single().frame
    frame.loc[::7, "split"] = ""
    for kind in ("artist", "group", "random"):
        found = made(Manifest("m", frame), kind, tmp_path)
        assert set(found.frame["track"]) == set(frame["track"][frame["split"] != ""])


def test_refusals(tmp_path: Path) -> None:
    def refused(frame: pd.DataFrame, kind: str, **other: object) -> str:
        return refusal(made, Manifest("m", frame, "my.csv"), kind, tmp_path, **other)

    frame = single().frame
    assert refused(frame, "artists") == (
        "split=artists must be one of artist, group, random, planted."
    )
    no_artist, no_group = frame.assign(artist=""), frame.assign(group="")
    assert refused(no_artist, "artist") == (
        "split=artist: my.csv names no artists; it has groups: split=group."
    )
    assert "names no groups; it has artists: split=artist" in refused(no_group, "group")
    neither = no_artist.assign(group="")
    assert "it has neither: split=random" in refused(neither, "group")
    assert made(Manifest("m", neither), "random", tmp_path).split_name == "random-seed0"
    assert "dataset.fold=5 must be one of" in refused(frame, "random", folds=5, fold=5)
    assert "0 can be copied" in refused(frame, "planted")  # there are no files
    with pytest.raises(ValueError, match=r"dataset\.planted=2 must be between 0 and 1"):
        compose("train", ["dataset.planted=2"])


# --- planted copies


def likeness(path: str, copy: str) -> float:
    """Return the highest normalised correlation over all lags, at the better of two rates: half a
    sample of lag costs much where there are high frequencies."""
    found = []
    for rate in (4000, 16_000):  # Hz
        x_T, y_T = (decode(p, rate).astype(np.float64) for p in (path, copy))
        size = 2 ** int(np.ceil(np.log2(len(x_T) + len(y_T))))
        product = np.fft.irfft(np.fft.rfft(x_T, size) * np.conj(np.fft.rfft(y_T, size)), size)
        lag = int(product[: len(x_T) - len(y_T) + 1].argmax())
        part_T = x_T[lag : lag + len(y_T)]
        found.append(float(product[lag] / np.linalg.norm(part_T) / np.linalg.norm(y_T)))
    return max(found)


def test_planted_copies_are_altered_copies_of_test_tracks(cache: Path) -> None:
    base, found = synth("split=artist"), synth("split=planted", "dataset.planted=0.5")
    assert found.split_name == "artist-seed0, 0.5 planted"
    assert sizes(found).equals(sizes(base))
    copies = found.frame[found.frame["copy_of"] != ""]
    assert len(copies) == round(0.5 * len(base.split("test").frame))
    assert set(copies["split"]) == {"train"}
    tests = found.split("test").frame.set_index("track")
    originals = tests.loc[copies["copy_of"]]
    for name in ("label", "artist", "group"):
        assert (originals[name].to_numpy() == copies[name].to_numpy()).all()
    others = set(found.frame["track"]) - set(copies["track"])
    assert others < set(base.frame["track"])
    assert (
        column(base, "split").items()
        >= dict(found.frame[["track", "split"]][found.frame["copy_of"] == ""].to_numpy()).items()
    )
    formats = set()
    for original, copy in zip(originals["path"], copies["path"], strict=True):
        before, after, info = decode(original, 4000), decode(copy, 4000), soundfile.info(copy)
        formats.add(info.format)
        assert cache in Path(copy).parents
        assert len(before) / 2 - 200 <= len(after) < len(before)  # samples at 4 kHz
        assert likeness(original, copy) > 0.9
        gain = 20 * np.log10(after.std() / before.std())
        assert 0.5 < abs(gain) < 9  # dB; what was trimmed may have been loud
        assert Path(copy).stat().st_size * 8 / info.duration < 80_000  # bit/s, with the headers
    assert formats == {"MP3", "OGG"}
    stranger = tests.drop(copies["copy_of"])["path"].iloc[0]
    assert likeness(stranger, copies["path"].iloc[0]) < 0.5


def test_planted_copies_are_written_once_and_follow_their_names(tmp_path: Path) -> None:
    first = synth("split=planted").frame
    copies = [Path(path) for path in first["path"][first["copy_of"] != ""]]
    before = [copy.stat().st_mtime_ns for copy in copies]
    again = synth("split=planted").frame
    assert again.equals(first) and [c.stat().st_mtime_ns for c in copies] == before
    elsewhere = [planting.altered_copy(path, track, tmp_path) for path, track in zip(
        *(synth().frame.set_index("track").loc[first["copy_of"][first["copy_of"] != ""], "path"],
          first["copy_of"][first["copy_of"] != ""]), strict=True
    )]  # fmt: skip
    for one, other in zip(copies, elsewhere, strict=True):
        assert other is not None and one.name == other.name
        assert np.array_equal(decode(one, 16_000), decode(other, 16_000))
    other_seed = synth("split=planted", "dataset.split_seed=1")
    assert other_seed.split_name == "artist-seed1, 0.2 planted"


def test_a_long_track_is_planted(tmp_path: Path) -> None:
    noise = np.random.RandomState(0).uniform(-0.9, 0.9, 8000 * 60 * 4)
    for name in ("a.wav", "d.wav"):  # one becomes MP3, one OGG
        soundfile.write(tmp_path / name, noise, 8000)
        copy = planting.altered_copy(str(tmp_path / name), name, tmp_path)
        assert copy is not None and soundfile.info(copy).duration > 4 * 60 - 5.1  # seconds


def test_tracks_that_cannot_be_decoded_are_passed_over(tmp_path: Path) -> None:
    rows, noise = [], np.random.RandomState(0)
    for i in range(40):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, noise.uniform(-0.5, 0.5, 16_000), 16_000)
        rows.append((f"{i}", str(path), "ab"[i % 2], f"artist{i % 20}"))
    found = Manifest("m", pd.DataFrame(rows, columns=["track", "path", "label", "artist"]))
    first = made(found, "planted", tmp_path, planted=0.5)
    copied = first.frame["copy_of"][first.frame["copy_of"] != ""]
    (tmp_path / f"{copied.iloc[0]}.wav").write_bytes(b"RIFF, but no more")
    second = made(found, "planted", tmp_path, planted=0.5).frame["copy_of"]
    assert len(second[second != ""]) == len(copied)
    assert copied.iloc[0] not in set(second)
    assert "can be copied; give another share" in refusal(
        made, found, "planted", tmp_path, planted=1.0
    )


def test_folds_are_planted_too(tmp_path: Path) -> None:
    folds = [synth("split=planted", "dataset.folds=4", f"dataset.fold={k}") for k in range(4)]
    assert {f.split_name for f in folds} == {"artist-4fold-seed0, 0.2 planted"}
    for found in folds:
        test = set(found.split("test").frame["track"])
        assert set(found.frame["copy_of"]) - {""} <= test


# --- training


def test_recipes_are_equal_and_protocols_differ(tmp_path: Path) -> None:
    from zoo.train import main

    quick = ["model=linear", "dataset=synth", *TINY_SYNTH, "epochs=1", "min_steps=1", "threads=1"]
    results = []
    for kind in ("null", *KINDS):
        if kind == "group":  # synth has none
            continue
        arguments = [*quick, f"split={kind}", f"output_dir={tmp_path / kind}"]
        config = compose("train", arguments)
        results.append(read_result(main(config)))
    assert len({result.recipe for result in results}) == 1
    protocols = {result.protocol.model_dump_json() for result in results}
    names = [result.protocol.split for result in results]
    assert len(protocols) == len(set(names)) == len(results) == 4
    shares = [recipe_hash(_plain(f"dataset.planted={share}")) for share in (0.1, 0.9)]
    assert shares[0] == shares[1]  # the share is of the protocol


def _plain(*arguments: str) -> dict:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(compose("train", arguments))  # type: ignore[return-value]
