"""Data sets of the user's own, and the splits that are made for them."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoo.config import compose
from zoo.datasets import folder, manifest
from zoo.datasets.base import Manifest
from zoo.datasets.splits import assign_folds, with_splits
from zoo.errors import InputError
from zoo.prepare import load_manifest

GOLDEN = "d29a2ea3544ae071"  # of the tracks and splits of `music()`


def touch(root: Path, *names: str) -> Path:
    """Make empty files: data sets list files and do not open them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def column(found: Manifest, name: str) -> dict[str, str]:
    return dict(zip(found.frame["track"], found.frame[name], strict=True))


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and message.endswith((".", "?"))
    return message


def music(num_artists: int = 40, tracks_each: int = 3, labels: int = 4) -> Manifest:
    """Artists with tracks of one or two labels; some have more tracks than others."""
    rows = [
        (f"{a}/{t}", f"label{(a + (t == 2)) % labels}", f"artist{a}")
        for a in range(num_artists)
        for t in range(tracks_each + a % 3)
    ]
    return Manifest("music", pd.DataFrame(rows, columns=["track", "label", "artist"]))


# --- folder


def test_folder_of_classes(tmp_path: Path) -> None:
    names = ["Rock/a.wav", "Rock/Album/CD 1/b.MP3", "Bossa Nova/é.flac", "レゲエ/c.ogg"]
    touch(tmp_path / "my music", *names, "Rock/cover.jpg", "notes.txt", "Rock/.hidden.mp3")
    touch(tmp_path / "my music", ".cache/d.wav", "Rock/.trash/e.wav", "empty/readme")
    found = folder.load(tmp_path, path=tmp_path / "my music")
    assert column(found, "label") == {name: name.partition("/")[0] for name in names}
    assert found.classes == ("Bossa Nova", "Rock", "レゲエ")
    assert found.name == "my music" and not found.multilabel
    assert all(Path(path).is_file() for path in found.frame["path"])
    assert set(found.frame["split"]) == {""}


@pytest.mark.parametrize(
    "names",
    [("train", "validation", "test"), ("Train", "VAL", "Test"), ("training", "dev", "test")],
)
def test_folder_of_splits(tmp_path: Path, names: tuple[str, str, str]) -> None:
    touch(tmp_path, *(f"{n}/{label}/x/1.wav" for n in names for label in ("a", "b")))
    found = folder.load(tmp_path, path=tmp_path)
    assert found.classes == ("a", "b")
    expected = dict(zip(names, ("train", "validation", "test"), strict=True))
    splits = column(found, "split")
    assert {track.partition("/")[0]: split for track, split in splits.items()} == expected


def test_folder_takes_one_name_in_two_spellings_for_one(tmp_path: Path) -> None:
    touch(tmp_path, "train/Beyonce\u0301/1.wav", "test/Beyonc\u00e9/1.wav", "train/b/1.wav")
    assert folder.load(tmp_path, path=tmp_path).classes == ("Beyonc\u00e9", "b")


def test_folder_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "outside/jazz/1.wav", "music/rock/1.wav")
    (tmp_path / "music" / "jazz").symlink_to(tmp_path / "outside" / "jazz")
    (tmp_path / "outside" / "jazz" / "all").symlink_to(tmp_path / "music")
    found = folder.load(tmp_path, path=tmp_path / "music")
    assert sorted(column(found, "label").values()) == ["jazz", "rock"]


def test_folder_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "music", "a/1.wav", "b/1.wav")
    for place, path in (("music/a", ".."), ("music", "."), (".", "music")):
        monkeypatch.chdir(tmp_path / place)
        found = folder.load(tmp_path, path=Path(path))
        assert found.name == "music"
        assert sorted(column(found, "label")) == ["a/1.wav", "b/1.wav"]
        assert all(Path(p).is_absolute() and Path(p).is_file() for p in found.frame["path"])


def test_folder_refusals(tmp_path: Path) -> None:
    def refused(path: Path | None) -> str:
        return refusal(folder.load, tmp_path, path=path)

    assert "dataset.path=DIR" in refused(None)
    assert "is not a folder" in refused(tmp_path / "nowhere")
    assert "no audio file" in refused(touch(tmp_path / "empty", "a/notes.txt"))
    assert "is not a folder" in refused(tmp_path / "empty" / "a" / "notes.txt")
    loose = touch(tmp_path / "loose", "a/1.wav", "b/1.wav", "2.wav")
    assert f"{loose / '2.wav'} lies in no class" in refused(loose)
    loose = touch(tmp_path / "loose2", "train/a/1.wav", "test/2.wav")
    assert f"{loose / 'test' / '2.wav'} lies in no class" in refused(loose)
    assert "SPLIT/CLASS" in refused(loose)
    mixed = touch(tmp_path / "mixed", "train/a/1.wav", "test/a/1.wav", "extra/a/1.wav")
    assert str(mixed / "extra") in refused(mixed)


def test_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    try:
        os.close(os.open(name, os.O_CREAT))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert "not UTF-8" in refusal(folder.load, tmp_path, path=tmp_path)


def test_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "b/1.wav", "secret/1.wav")
    (tmp_path / "secret").chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything
        for parent in [tmp_path, *tmp_path.parents]:
            if "pytest-of-" in str(parent):
                parent.chmod(0o755)
        os.seteuid(65_534)
    try:
        assert "secret cannot be read" in refusal(folder.load, tmp_path, path=tmp_path)
    finally:
        os.seteuid(user)
        (tmp_path / "secret").chmod(0o755)


# --- manifest


def csv(tmp_path: Path, text: str, encoding: str = "utf-8", name: str = "my.csv") -> Path:
    (tmp_path / name).write_bytes(text.encode(encoding))
    return tmp_path / name


def read(path: Path) -> Manifest:
    return manifest.load(path.parent, path=path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_manifest_of_csv(tmp_path: Path, encoding: str, end: str) -> None:
    home = Path.home()
    lines = [
        "label,path, split,artist,group,year",
        "Rock,a.wav,train,AC#DC,Live,1980",
        " Rock ,sub/é b.mp3,Val,NA,null,",
        f'"R&B, Soul",{tmp_path}/c.wav,TEST,,,1990',
        "1980,~/d.wav,test,1,None,",
        "007,~nobody at all/e.wav,dev,nan,,",
        'x,"f, g.wav",train,it\'s,,',
    ]
    found = read(csv(tmp_path, end.join(lines) + end, encoding))
    frame = found.frame
    assert frame["path"].tolist() == [
        *(f"{tmp_path}/a.wav", f"{tmp_path}/sub/é b.mp3", f"{tmp_path}/c.wav", f"{home}/d.wav"),
        *(f"{tmp_path}/~nobody at all/e.wav", f"{tmp_path}/f, g.wav"),
    ]
    assert frame["label"].tolist() == ["Rock", "Rock", "R&B, Soul", "1980", "007", "x"]
    expected = ["train", "validation", "test", "test", "validation", "train"]
    assert frame["split"].tolist() == expected
    assert frame["artist"].tolist() == ["AC#DC", "NA", "", "1", "nan", "it's"]
    assert frame["track"].tolist()[:2] == ["a.wav", "sub/é b.mp3"]
    assert frame["year"].tolist()[0] == "1980"
    assert found.classes == ("007", "1980", "R&B, Soul", "Rock", "x")
    assert found.name == "my" and not found.multilabel


def test_manifest_of_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "path": ["a.wav", "b.wav", "c.wav"],
            "label": [3, 1, 3],
            "artist": pd.array([7, None, 8], "Int64"),
            "group": [None, None, None],
            "split": pd.Categorical(["train", None, "test"]),
            "track": ["x", None, "z"],
        }
    )
    frame.to_parquet(tmp_path / "tracks.parquet")
    found = read(tmp_path / "tracks.parquet")
    assert found.name == tmp_path.name  # "tracks" says nothing
    assert found.frame["label"].tolist() == ["3", "1", "3"] and found.classes == ("1", "3")
    assert found.frame["artist"].tolist() == ["7", "", "8"]
    assert found.frame["split"].tolist() == ["train", "", "test"]
    assert found.frame["track"].tolist() == ["x", "b.wav", "z"]
    assert found.units.tolist() == ["artist:7", "track:b.wav", "artist:8"]


def test_manifest_of_several_labels(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "path,label\na.wav, rock|loud \nb.wav,rock||rock\nc.wav,|calm\n"))
    assert found.multilabel and found.classes == ("calm", "loud", "rock")
    assert found.frame["label"].tolist() == ["rock|loud", "rock", "calm"]
    assert found.targets().tolist() == [[0, 1, 1], [0, 0, 1], [1, 0, 0]]
    assert found.split("").select(np.array([False, True, True])).targets().shape == (2, 3)


def test_tracks_without_a_label_where_tags_are_given(tmp_path: Path) -> None:
    frame = pd.DataFrame({"track": list("abc"), "label": ["rock|loud", "", "rock"]})
    found = Manifest("m", frame, classes=("rock", "loud", "calm"), multilabel=True)
    assert found.targets().tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert found.select(frame["label"] == "").targets().tolist() == [[0, 0, 0]]
    assert "track b has no label" in refusal(Manifest, "m", frame, multilabel=True)
    assert "track b has no label" in refusal(Manifest, "m", frame, classes=("rock", "loud"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.wav,x\n", "no column 'path', which it needs; known are file, label."),
        ("Path,lable\na.wav,x\n", "no column 'path', which it needs; did you mean Path?"),
        ("path,lable\na.wav,x\n", "no column 'label', which it needs; did you mean lable?"),
        ("path;label\na.wav;x\n", "no column 'path', which it needs; known are path;label."),
        ("path,label\na.wav,x\nb.wav,\n", "track b.wav has no label"),
        ("path,label\na.wav,x\nb.wav, | \n", "track b.wav has no label"),
        ("path,label\na.wav,x\nb.wav\n", "track b.wav has no label"),
        ("path,label\na.wav,x\n,y\n", "track number 2 has no path"),
        ("path,label\na.wav,x\nb.wav,y\na.wav,x\n", "track a.wav is there twice"),
        ("track,path,label\n1,a.wav,x\n2,./a.wav,y\n", "a.wav is there twice"),
        ("path,label,split\na.wav,x,trian\n", "split 'trian' is unknown; did you mean train?"),
        ("path,label, label\na.wav,x,y\n", "has two columns label"),
        ("path,label\n", "has no tracks"),
        ("", "cannot be read as CSV or Parquet: No columns"),
        ("path,label\nCrosby, Stills.wav,x\n", "cannot be read as CSV or Parquet"),
        ("path,label\na.wav,x\nCrosby, Stills.wav,x\n", "cannot be read as CSV or Parquet"),
    ],
)
def test_manifest_refusals(tmp_path: Path, text: str, words: str) -> None:
    message = refusal(read, csv(tmp_path, text))
    assert words in message and str(tmp_path / "my.csv") in message


def test_manifests_that_are_none(tmp_path: Path) -> None:
    assert "dataset.path=FILE" in refusal(manifest.load, tmp_path, path=None)
    assert "is not a file" in refusal(read, tmp_path / "nowhere.csv")
    assert "is not a file" in refusal(read, tmp_path)
    for name in ("cover.csv", "cover.parquet"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9)
        assert f"{tmp_path / name} cannot be read" in refusal(read, tmp_path / name)
    assert "cannot be read" in refusal(read, csv(tmp_path, "path,label\né.wav,x\n", "latin-1"))
    frame = pd.DataFrame({"path": ["a.wav"], "label": [["rock", "loud"]]})
    frame.to_parquet(tmp_path / "lists.parquet")
    assert "join several labels by |" in refusal(read, tmp_path / "lists.parquet")


# --- splits


def splits(found: Manifest) -> dict[str, str]:
    return column(found, "split")


def shuffled(found: Manifest) -> Manifest:
    return Manifest(found.name, found.frame.sample(frac=1, random_state=1))


def test_a_split_is_the_same_everywhere() -> None:
    made = with_splits(music(), None, 0, 0)
    assert made.split_name == "artist-seed0" and made.fold is None
    lines = sorted(f"{track} {split}" for track, split in splits(made).items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == GOLDEN
    assert splits(with_splits(shuffled(music()), None, 0, 0)) == splits(made)
    assert splits(with_splits(music(), None, 0, 1)) != splits(made)


@pytest.mark.parametrize("seed", range(3))
def test_artists_stay_whole_and_labels_in_proportion(seed: int) -> None:
    frame = with_splits(music(80), None, 0, seed).frame
    assert frame.groupby("artist")["split"].nunique().max() == 1
    shares = pd.crosstab(frame["label"], frame["split"], normalize="index")
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert shares[split].to_numpy() == pytest.approx(share, abs=0.06)


def test_units_are_artists_else_groups_else_tracks() -> None:
    rows = [("1", "x", "A", "g"), ("2", "x", "", "g"), ("3", "y", "", ""), ("4", "y", "", "A")]
    found = Manifest("m", pd.DataFrame(rows, columns=["track", "label", "artist", "group"]))
    assert found.units.tolist() == ["artist:A", "group:g", "track:3", "group:A"]
    groups = music().frame.drop(columns="group").rename(columns={"artist": "group"})
    made = with_splits(Manifest("m", groups), None, 0, 0)
    assert made.split_name == "group-seed0"
    assert made.frame.groupby("group")["split"].nunique().max() == 1


@pytest.mark.parametrize("num_folds", [2, 5, 10])
def test_folds_partition_the_tracks(num_folds: int) -> None:
    found = music(80)
    folds = [with_splits(found, num_folds, k, 0) for k in range(num_folds)]
    tests = [set(made.split("test").frame["track"]) for made in folds]
    assert sum(map(len, tests)) == len(found.frame)
    assert set().union(*tests) == set(found.frame["track"])
    expected = found.frame["label"].value_counts() / num_folds
    for k, made in enumerate(folds):
        assert made.fold == k and made.split_name == f"artist-{num_folds}fold-seed0"
        assert made.frame.groupby("artist")["split"].nunique().max() == 1
        assert set(made.split("validation").frame["label"]) == set(found.classes)
        counts = made.split("test").frame["label"].value_counts()
        assert (counts - expected).abs().max() <= 4  # tracks: less than one artist
    assert not np.array_equal(assign_folds(found, num_folds, 0), assign_folds(found, num_folds, 1))


def test_folds_of_single_tracks_differ_by_one() -> None:
    labels = ["a"] * 53 + ["b"] * 17 + ["c"] * 6
    frame = pd.DataFrame({"track": map(str, range(len(labels))), "label": labels})
    counts = pd.crosstab(frame["label"], assign_folds(Manifest("m", frame), 5, 3))
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1
    assert counts.sum().max() - counts.sum().min() <= 1


def test_an_artist_who_dominates_is_not_the_test() -> None:
    found = music(40)
    frame = found.frame.assign(artist=found.frame["artist"].mask(found.frame.index < 70, "Giant"))
    counts = with_splits(Manifest("m", frame), None, 0, 0).frame["split"].value_counts()
    assert counts["test"] < 0.3 * len(frame) and counts["train"] > 0.5 * len(frame)


def test_folds_of_several_labels() -> None:
    frame = music(80).frame
    frame["label"] = frame["label"] + np.where(frame.index % 3 == 0, "|loud", "")
    found = Manifest("tags", frame)
    folds = assign_folds(found, 5, 0)
    shares = np.array([found.targets()[folds == k].mean(axis=0) for k in range(5)])
    assert np.ptp(shares, axis=0).max() < 0.15
    made = with_splits(found, None, 0, 0)
    assert made.multilabel and made.split("test").targets().any(axis=0).all()


def test_a_given_split_is_kept() -> None:
    frame = music().frame
    frame["split"] = np.where(frame.index % 5 == 0, "test", "train")
    frame.loc[frame.index % 7 == 0, "split"] = ""
    made = with_splits(Manifest("m", frame), None, 0, 0)
    assert made.split_name == "given" and len(made.frame) == (frame["split"] != "").sum()
    test = set(frame["track"][frame["split"] == "test"])
    assert set(made.split("test").frame["track"]) == test
    assert set(made.split("validation").frame["label"]) == set(made.classes)
    train, validation = made.split("train").frame, made.split("validation").frame
    assert not set(train["artist"]) & set(validation["artist"])
    assert 0.05 < len(validation) / (len(train) + len(validation)) < 0.25

    frame.loc[1, "split"] = "validation"
    made = with_splits(Manifest("m", frame), None, 0, 0)
    assert made.split("validation").frame["track"].tolist() == [frame.loc[1, "track"]]
    assert with_splits(made, 5, 1, 0).split_name == "artist-5fold-seed0"


def test_validation_leaves_no_class_without_training() -> None:
    frame = music(12, labels=2).frame
    frame["split"] = np.where(frame["artist"].isin(["artist0", "artist1"]), "test", "train")
    frame.loc[frame["artist"] == "artist3", ["label", "artist"]] = ["rare", "one"]
    made = with_splits(Manifest("m", frame), None, 0, 0)
    assert "rare" in set(made.split("train").frame["label"])
    assert len(made.split("validation").frame)


def test_the_least_that_can_be_split() -> None:
    frame = pd.DataFrame({"track": list("abcdef"), "label": list("xyxyxy")})
    made = with_splits(Manifest("m", frame), None, 0, 0)
    assert (
        pd.crosstab(made.frame["label"], made.frame["split"]).to_numpy().tolist() == [[1] * 3] * 2
    )


def test_split_refusals() -> None:
    def refused(frame: pd.DataFrame, folds: int | None = None, fold: int = 0) -> str:
        message = refusal(with_splits, Manifest("m", frame, source="my.csv"), folds, fold, 0)
        assert message.startswith(("my.csv", "dataset.fold"))
        return message

    frame = music().frame
    assert "one class only (x)" in refused(frame.assign(label="x"))
    few = music(4, labels=2).frame
    assert "4 independent units" in refused(few)
    assert "fewer folds" in refused(few, 5)
    one = frame.assign(label=frame["label"].mask(frame["artist"] == "artist0", "solo"))
    assert "class solo has 1 artist but takes 2" in refused(one)
    assert "class solo has 1 artist but takes 2" in refused(one, 2, 1)
    pair = one.assign(label=one["label"].mask(one["artist"] == "artist7", "solo"))
    assert "class solo has 2 artists but takes 5" in refused(pair, 5)
    assert "dataset.fold=5 must be one of 0 to 4" in refused(frame, 5, 5)
    assert "dataset.fold=-1 must be" in refused(frame, 5, -1)
    assert "dataset.fold=2 needs dataset.folds" in refused(frame, None, 2)
    assert "no track in split test" in refused(frame.assign(split="train"))
    assert "no track in split train" in refused(frame.assign(split="test"))
    given = frame.assign(split=np.where(frame["label"] == "label0", "test", "train"))
    assert "class label0 is in the test split but has no training track" in refused(given)
    two = given.assign(artist="one")
    two.loc[two.index % 2 == 0, "split"] = "test"
    two.loc[two.index % 2 == 1, "split"] = "train"
    assert "cannot make 2 folds" in refused(two)


def test_a_large_data_set_is_split_quickly() -> None:
    random = np.random.default_rng(0)
    names = [f"track{i}" for i in range(20_000)]
    labels = random.choice([f"genre{k}" for k in range(20)], 20_000)
    found = Manifest("large", pd.DataFrame({"track": names, "label": labels}))
    started = time.perf_counter()
    with_splits(found, None, 0, 0)
    assert time.perf_counter() - started < 20  # seconds, on a busy machine too


def test_fingerprint_is_of_tracks_and_labels_alone() -> None:
    found = music()
    assert shuffled(found).fingerprint() == found.fingerprint()
    assert Manifest("m", found.frame.assign(path="x/" + found.frame["track"])).fingerprint() == (
        found.fingerprint()
    )
    other = found.frame.assign(label=found.frame["label"].mask(found.frame.index == 3, "other"))
    assert Manifest("m", other).fingerprint() != found.fingerprint()


# --- from the command's configuration


def test_from_configuration_to_splits(tmp_path: Path) -> None:
    root = touch(tmp_path / "my music", *(f"{c}/{i}.wav" for c in "ab" for i in range(10)))
    config = compose("train", ["dataset=folder", f"dataset.path={root}", "dataset.split_seed=3"])
    made = load_manifest(config)
    assert made.split_name == "track-seed3"
    assert made.frame["split"].value_counts().to_dict() == {"train": 14, "test": 4, "validation": 2}
    lines = "".join(f"{c}/{i}.wav,{c},{i % 5}\n" for c in "ab" for i in range(10))
    file = csv(root, f"path,label,artist\n{lines}")
    folds = ["dataset=manifest", f"dataset.path={file}", "dataset.folds=5"]
    made = [load_manifest(compose("prepare", [*folds, f"dataset.fold={k}"])) for k in range(5)]
    tests = pd.concat([of_fold.split("test").frame for of_fold in made])
    assert sorted(tests["track"]) == sorted(made[0].frame["track"])
    assert tests.groupby("artist")["track"].count().tolist() == [4] * 5
