"""GTZAN as Kaggle, Marsyas and the Hub lay it out, and its protocols."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from zoo.config import compose
from zoo.datasets import gtzan
from zoo.datasets.base import Manifest
from zoo.errors import InputError
from zoo.prepare import decode_tracks, load_manifest
from zoo.prepare import main as prepare

BROKEN = "jazz.00054"
TRACKS = pd.read_csv(gtzan.FACTS)["track"].tolist()


def write(folder: Path, suffix: str, tracks: list[str]) -> None:
    """Tracks of 0.2 s as GTZAN has them, 22,050 Hz, 16 bits, mono; one of them is broken."""
    sound, noise = io.BytesIO(), np.random.RandomState(0).uniform(-0.5, 0.5, 4410)
    soundfile.write(sound, noise, 22_050, "PCM_16", format=suffix.removeprefix(".").upper())
    for genre in {track.partition(".")[0] for track in tracks}:
        (folder / genre).mkdir(parents=True)
    for track in tracks:
        file = folder / track.partition(".")[0] / f"{track}{suffix}"
        file.write_bytes(bytes(range(256)) if track == BROKEN else sound.getvalue())


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole of it, with pictures and features beside it."""
    root = tmp_path_factory.mktemp("kaggle")
    write(root / "Data" / "genres_original", ".wav", TRACKS)
    (root / "Data" / "images_original" / "blues").mkdir(parents=True)
    (root / "Data" / "images_original" / "blues" / "blues00000.png").write_bytes(b"\x89PNG")
    (root / "Data" / "features_30_sec.csv").write_text("filename,length\nblues.00000.wav,661794\n")
    return root


def load(root: Path, protocol: str = "fault_filtered") -> Manifest:
    return gtzan.load(root, path=root, protocol=protocol)


def of_fold(root: Path, protocol: str, fold: int) -> Manifest:
    arguments = ["dataset=gtzan", f"dataset.path={root}", f"dataset.protocol={protocol}"]
    return load_manifest(compose("train", [*arguments, f"dataset.fold={fold}"]))


# --- layouts


@pytest.mark.parametrize("start", ["", "Data", "Data/genres_original"])
def test_as_kaggle_lays_it_out(kaggle: Path, start: str) -> None:
    found = load(kaggle / start)
    assert len(found.frame) == 1000 and len(found.classes) == 10 and not found.multilabel
    assert all(Path(path).is_file() for path in found.frame["path"])
    assert found.frame["path"][0].endswith("Data/genres_original/blues/blues.00000.wav")


@pytest.mark.parametrize(
    ("folder", "suffix"), [("genres", ".au"), ("genres", ".wav"), (".", ".au")]
)
def test_as_marsyas_and_the_hub_lay_it_out(tmp_path: Path, folder: str, suffix: str) -> None:
    write(tmp_path / folder, suffix, [f"{genre}.00000" for genre in ("blues", "rock")])
    (tmp_path / folder / "bextract_single.mf").touch()
    (tmp_path / folder / "blues" / f"._blues.00001{suffix}").touch()  # as macOS leaves behind
    for root in (tmp_path, tmp_path / folder):
        paths = load(root).frame.set_index("track")["path"]
        assert {track for track, path in paths.items() if Path(path).exists()} == {
            "blues.00000",
            "rock.00000",
        }
        assert set(paths.map(lambda path: Path(path).suffix)) == {suffix}
        assert Path(paths["rock.00099"]).parent == (tmp_path / folder / "rock").absolute()


def test_by_a_relative_path(kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kaggle)
    assert all(Path(path).is_absolute() for path in load(Path("Data")).frame["path"])


# --- protocols


def test_the_fault_filtered_split_is_kept_as_published(kaggle: Path, shared: Path) -> None:
    published = pd.read_csv(shared / "splits" / "gtzan.csv", dtype=str, keep_default_na=False)
    found = load(kaggle)
    for ours, theirs in {"split": "split", "artist": "artist_group", "label": "genre"}.items():
        assert dict(zip(found.frame["track"], found.frame[ours], strict=True)) == dict(
            zip(published["track"], published[theirs], strict=True)
        )
    done = of_fold(kaggle, "fault_filtered", 0)
    assert done.split_name == "fault_filtered" and done.fold is None
    counts = {"train": 443, "test": 290, "validation": 197}
    assert done.frame["split"].value_counts().to_dict() == counts
    splits = done.frame[done.frame["artist"] != ""].groupby("artist")["split"].nunique()
    assert splits[splits > 1].index.tolist() == ["138"]


def test_artist_folds_keep_artists_whole_and_unknown_ones_in_training(kaggle: Path) -> None:
    tests = []
    for fold in range(5):
        done = of_fold(kaggle, "artist_folds", fold)
        assert (done.split_name, done.fold) == ("artist_folds", fold)
        frame = done.frame
        assert len(frame) == 1000
        unknown = frame["artist"] == ""
        assert unknown.sum() == 52 and set(frame["split"][unknown]) == {"train"}
        assert (frame[~unknown].groupby("artist")["split"].nunique() == 1).all()
        by_class = frame[frame["split"] == "test"].groupby("label")["track"].count()
        assert len(by_class) == 10 and by_class.min() >= 14 and by_class.max() <= 29
        tests += frame["track"][frame["split"] == "test"].tolist()
    assert len(tests) == len(set(tests)) == 948
    with pytest.raises(InputError, match=r"dataset\.fold=5 must be one of 0 to 4"):
        of_fold(kaggle, "artist_folds", 5)


def test_random_folds_hold_as_many_of_each_genre_and_say_what_they_ignore(kaggle: Path) -> None:
    tests, crossing = [], set()
    for fold in range(5):
        done = of_fold(kaggle, "random_folds", fold)
        assert "random" in done.split_name and "artists ignored" in done.split_name
        assert (done.split("test").frame["label"].value_counts() == 20).all()
        tests += done.split("test").frame["track"].tolist()
        known = done.frame[done.frame["artist"] != ""].groupby("artist")["split"].nunique()
        crossing |= set(known[known > 1].index)
    assert sorted(tests) == sorted(TRACKS)
    assert len(crossing) > 60


# --- preparation


def arguments(root: Path, *others: str) -> list[str]:
    return ["model=linear", "dataset=gtzan", f"dataset.path={root}", *others]


@pytest.mark.parametrize("suffix", [".wav", ".au"])
def test_the_broken_track_is_left_out_with_a_reason(
    kaggle: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if suffix == ".au":
        write(tmp_path / "genres", suffix, TRACKS)
    prepare(compose("prepare", arguments(kaggle if suffix == ".wav" else tmp_path)))
    shown = capsys.readouterr()
    assert "all 930 files are there" in shown.out
    assert "gtzan: 929 tracks at 16000 Hz" in shown.out
    assert "Tzanetakis" in shown.out and "none stated" in shown.out
    assert f"{BROKEN}{suffix} cannot be decoded: Format not recognised." in shown.err


def test_what_is_missing_is_counted_by_split_with_where_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = load_split()
    gone = {*split["test"][:3], split["train"][0]}
    write(tmp_path / "genres", ".wav", [track for track in TRACKS if track not in gone])
    prepare(compose("prepare", arguments(tmp_path, "dataset.download=true")))
    shown = capsys.readouterr()
    assert "4 of 930 files are missing (train 1, test 3):" in shown.out
    assert str(tmp_path / "genres" / "blues" / f"{split['test'][0]}.wav") in shown.out
    assert "https://huggingface.co/datasets/marsyas/gtzan" in shown.out
    assert (
        "(the link of Marsyas, http://opihi.cs.uvic.ca/sound/genres.tar.gz, is dead)" in shown.out
    )
    assert "dataset.download=true knows no link of gtzan" in shown.err  # it goes on without
    assert "does not exist (and 3 more)" in shown.err and BROKEN in shown.err


def load_split() -> dict[str, list[str]]:
    facts = pd.read_csv(gtzan.FACTS, keep_default_na=False)
    return facts.groupby("split")["track"].agg(list).to_dict()


def test_too_much_missing_stops_it_and_says_where_to_get_it(tmp_path: Path) -> None:
    write(tmp_path / "genres", ".wav", TRACKS[:900])
    config = compose("train", arguments(tmp_path))
    with pytest.raises(InputError, match=r"11% of the files are missing .* get it at https://"):
        decode_tracks(load_manifest(config), config, 16_000)


# --- mistakes


def test_refusals(tmp_path: Path, kaggle: Path) -> None:
    def refused(*others: str, root: Path | None = tmp_path) -> str:
        path = [f"dataset.path={root}"] if root else []
        with pytest.raises(InputError) as caught:
            load_manifest(compose("train", ["dataset=gtzan", *path, *others]))
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
        return str(caught.value)

    assert "needs dataset.path=DIR; get it at https://" in refused(root=None)
    assert "is not a folder; get it at" in refused(root=tmp_path / "nowhere")
    assert "has no folder of a genre, such as genres/blues; get it at" in refused()
    assert "dataset.download=true knows no link of gtzan" in refused("dataset.download=true")
    message = refused("dataset.protocol=sturm", root=kaggle)
    assert message.startswith("dataset.protocol=sturm must be one of fault_filtered, artist_folds")
