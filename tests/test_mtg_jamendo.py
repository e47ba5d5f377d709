"""`mtg_jamendo` on a fixture in the repository's layout, and on lines of its real files."""

from pathlib import Path

import pytest

from sounds import write_mp3
from test_datasets import column, refusal
from zoo.config import compose
from zoo.datasets import mtg_jamendo
from zoo.datasets.splits import with_splits
from zoo.errors import InputError
from zoo.prepare import decode_tracks, load_manifest
from zoo.tags import TAGS

HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\r\n"
TAGS_OF = {  # lines of TAGS, by subset
    "genre": ["genre---rock", "genre---electronic\tgenre---house"],
    "top50": ["genre---rock\tinstrument---guitar", "genre---electronic\tmood/theme---film"],
    "mood": ["mood/theme---film", "mood/theme---deep\tmood/theme---sad"],
}
FIRST = {"train": 200, "validation": 300, "test": 400}  # track numbers


def write_split(root: Path, subset: str = "top50", number: int = 0, tracks: int = 4) -> Path:
    for split, first in FIRST.items():
        name = f"split-{number}/{mtg_jamendo.FILES[subset]}-{split}.tsv"
        lines = [
            f"track_{i:07}\tartist_{i // 2:06}\talbum_{i // 2:06}\t{i % 100:02}/{i}.mp3\t0.5\t"
            f"{TAGS_OF[subset][i % 2]}\r\n"
            for i in range(first, first + tracks)
        ]
        (root / "data/splits" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "data/splits" / name).write_text(HEADER + "".join(lines), newline="")
    return root


def test_tracks_and_tags(tmp_path: Path) -> None:
    found = mtg_jamendo.load(tmp_path, path=write_split(tmp_path))
    assert found.name == "mtg_jamendo_top50" and found.split_name == "split-0"
    assert found.multilabel and found.classes == (
        *("genre---electronic", "genre---rock", "instrument---guitar", "mood/theme---film"),
    )
    assert set(found.classes) <= set(TAGS["jamendo"])  # as the published weights call them
    assert found.frame.set_index("track").loc["track_0000201"].to_dict() == {
        "artist": "artist_000100",
        "group": "album_000100",
        "path": str(tmp_path / "audio/01/201.mp3"),
        "label": "genre---electronic|mood/theme---film",
        "split": "train",
    }
    write_split(tmp_path, "genre", 4)
    genres = mtg_jamendo.load(tmp_path, path=tmp_path, subset="genre", split_number=4)
    assert genres.classes == ("electronic", "house", "rock") and genres.split_name == "split-4"
    assert column(genres, "label")["track_0000201"] == "electronic|house"
    moods = mtg_jamendo.load(tmp_path, path=write_split(tmp_path, "mood"), subset="mood")
    assert moods.classes == ("deep", "film", "sad")


@pytest.mark.parametrize("name", ["audio/01/201.mp3", "audio-low/01/201.low.mp3"])
@pytest.mark.parametrize("beside", [False, True])
def test_audio_in_each_place(tmp_path: Path, name: str, beside: bool) -> None:
    write_split(tmp_path)
    file = tmp_path / (name.partition("/")[2] if beside else name)
    write_mp3(file, 300)
    found = column(mtg_jamendo.load(tmp_path, path=tmp_path), "path")
    assert found["track_0000201"] == str(file) and len(set(found.values())) == len(found)


def test_the_better_copy_is_taken(tmp_path: Path) -> None:
    write_split(tmp_path)
    for name in ("audio-low/01/201.low.mp3", "audio/01/201.mp3", "01/201.low.mp3"):
        write_mp3(tmp_path / name, 300)
    found = column(mtg_jamendo.load(tmp_path, path=tmp_path), "path")
    assert found["track_0000201"] == str(tmp_path / "audio/01/201.mp3")


def test_preparation(tmp_path: Path) -> None:
    root = write_split(tmp_path / "mtg-jamendo-dataset")
    for path in column(mtg_jamendo.load(tmp_path, path=root), "path").values():
        file = root / "audio-low" / Path(path).parent.name / f"{Path(path).stem}.low.mp3"
        write_mp3(file, int(Path(path).stem) + 200)
    config = compose("train", ["dataset=mtg_jamendo", f"dataset.path={root}"])
    data = decode_tracks(load_manifest(config), config, 16_000)
    assert len(data.manifest.frame) == 12 and data.left_out.empty
    assert data.manifest.split_name == "split-0"


def test_real_lines(shared: Path, tmp_path: Path) -> None:
    for file in (shared / "splits/mtg-jamendo").glob("*.tsv"):
        to = tmp_path / "data/splits/split-0" / file.name.replace(".head400", "")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(file.read_bytes())
    found = mtg_jamendo.load(tmp_path, path=tmp_path, subset="genre")
    frame = found.frame
    assert frame["split"].value_counts().to_dict() == dict.fromkeys(FIRST, 399)
    assert frame.groupby("artist")["split"].nunique().max() == 1
    first = frame[frame["split"] == "test"].iloc[0]
    assert (first["track"], first["label"]) == ("track_0000214", "punkrock")
    assert first["path"].endswith("audio/14/214.mp3")
    assert not frame["label"].str.contains("---|\r", regex=True).any()
    assert len(found.classes) == 71 and "rock" in found.classes
    assert frame["label"].str.contains("|", regex=False).any()
    with pytest.raises(InputError, match=r"bluesrock .* has no training track"):
        with_splits(found, None, 0, 0)  # of the 87 genres, 400 lines do not hold each


def test_refusals(tmp_path: Path) -> None:
    def refused(root: Path | None, **arguments: object) -> str:
        return refusal(mtg_jamendo.load, tmp_path, path=root, **arguments)

    assert "dataset=mtg_jamendo needs dataset.path=DIR; get it at https://github" in refused(None)
    assert "is not a folder" in refused(tmp_path / "nowhere")
    root = write_split(tmp_path / "jamendo")
    assert "has no data/splits/split-3/autotagging_top50tags-train.tsv" in refused(
        root, split_number=3
    )
    assert "has no data/splits/split-0/autotagging-train.tsv" in refused(root, subset="everything")
    assert "dataset.subset=moods must be one of genre, mood" in refused(root, subset="moods")
    wrong = ["dataset=mtg_jamendo", "dataset.split_number=5"]
    assert refusal(compose, "prepare", wrong) == ("dataset.split_number=5 must be between 0 and 4.")
    file = root / "data/splits/split-0/autotagging_top50tags-test.tsv"
    file.write_text(HEADER + "track_0000400\tartist_1\talbum_1\t00/400.mp3\t0.5\n")
    assert f"{file} is not as published: line 2 has no tag" in refused(root)
    file.write_text("path,label\n")
    assert f"{file} is not as published: its first line must be TRACK_ID" in refused(root)
    file.write_bytes(b"\xff\xfe")
    assert f"{file} cannot be read" in refused(root)
