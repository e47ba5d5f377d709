"""`fma` on a fixture with the real columns, header rows, genres and file names."""

import csv
from pathlib import Path

import pytest

from sounds import write_mp3
from test_datasets import column, refusal
from zoo.config import compose
from zoo.datasets import fma
from zoo.prepare import decode_tracks, load_manifest

HEADER = {  # of tracks.csv as published
    "album": "comments date_created date_released engineer favorites id information listens "
    "producer tags title tracks type",
    "artist": "active_year_begin active_year_end associated_labels bio comments date_created "
    "favorites id latitude location longitude members name related_projects tags website "
    "wikipedia_page",
    "set": "split subset",
    "track": "bit_rate comments composer date_created date_recorded duration favorites genre_top "
    "genres genres_all information interest language_code license listens lyricist number "
    "publisher tags title",
}
GENRES = """genre_id,#tracks,parent,title,top_level
4,4126,0,Jazz,4
8,868,0,Old-Time / Historic,8
10,13845,0,Pop,10
12,32923,0,Rock,12
17,12706,0,Folk,17
45,2469,12,Loud-Rock,12
53,2071,45,Noise-Rock,12
103,4162,17,Singer-Songwriter,17
"""
TRACKS = [  # number, subset, split, artist, album, genre_top, genres_all
    (2, "small", "training", 1, 1, "Rock", [12]),
    (5, "small", "training", 1, 1, "Rock", [12, 45, 53]),
    (10, "small", "training", 2, 2, "Folk", [17]),
    (140, "small", "training", 3, 3, "Folk", [17, 103]),
    (1482, "small", "validation", 4, 4, "Rock", [12]),
    (1483, "small", "validation", 4, 4, "Folk", [17]),
    (99134, "small", "test", 5, -1, "Rock", [12, 45]),
    (133297, "small", "test", 6, -1, "Folk", [17, 8]),
    (20, "medium", "training", 7, 7, "Jazz", [4]),
    (3, "large", "training", 8, 8, "", [10, 12]),
    (4, "large", "test", 9, 9, "", [8]),
    (6, "large", "test", 9, 9, "", []),
]


def write_fma(root: Path) -> Path:
    (root / "fma_metadata").mkdir(parents=True)
    (root / "fma_metadata/genres.csv").write_text(GENRES)
    pairs = [(group, name) for group, names in HEADER.items() for name in names.split()]
    with (root / "fma_metadata/tracks.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["", *(group for group, _ in pairs)])
        table.writerow(["", *(name for _, name in pairs)])
        table.writerow(["track_id", *("" for _ in pairs)])
        for number, subset, split, artist, album, top, genres in TRACKS:
            row = dict.fromkeys(pairs, "")
            row |= {("set", "split"): split, ("set", "subset"): subset}
            row |= {("artist", "id"): artist, ("album", "id"): album}
            row |= {("track", "genre_top"): top, ("track", "genres_all"): genres}
            row |= {("artist", "bio"): 'a "band",\n\nof the Îles'}
            table.writerow([number, *row.values()])
    return root


def genres_of(root: Path, **arguments: str) -> dict[str, str]:
    return column(fma.load(root, path=root, **arguments), "label")


def test_fixture_has_the_published_columns(tmp_path: Path) -> None:
    lines = (write_fma(tmp_path) / "fma_metadata/tracks.csv").read_text().splitlines()
    assert len(lines[0].split(",")) == 1 + 52 and lines[2] == "track_id" + "," * 52


def test_sizes_hold_each_other(tmp_path: Path) -> None:
    root = write_fma(tmp_path)
    small = fma.load(tmp_path, path=root)
    assert small.name == "fma_small" and small.split_name == "official" and not small.multilabel
    assert small.classes == ("Folk", "Rock")
    frame = small.frame.set_index("track")
    assert frame.index.tolist() == [
        *("000002", "000005", "000010", "000140", "001482", "001483", "099134", "133297")
    ]
    assert frame.loc["000140"].drop("path").to_dict() == {
        "label": "Folk",
        "split": "train",
        "artist": "3",
        "group": "3",
    }
    assert frame.loc["099134", "path"] == str(root / "fma_small/099/099134.mp3")
    assert frame.loc["099134", "group"] == ""  # -1: of no album
    assert set(genres_of(root, subset="medium")) == {*frame.index, "000020"}
    assert genres_of(root, subset="large") == genres_of(root, subset="full")
    assert set(genres_of(root, subset="large")) == {*frame.index, "000020"}  # without a root genre


def test_all_genres_that_can_be_learned(tmp_path: Path) -> None:
    root = write_fma(tmp_path)
    found = fma.load(tmp_path, path=root, subset="large", labels="genres_all")
    assert found.multilabel and "Old-Time / Historic" not in found.classes
    labels = column(found, "label")
    assert labels["000005"] == "Rock|Loud-Rock|Noise-Rock" and labels["000003"] == "Pop|Rock"
    assert labels["133297"] == "Folk"  # the other genre has no training track
    assert not {"000004", "000006"} & set(labels)  # nothing is left of theirs, and none to start
    assert fma.load(tmp_path, path=root, labels="genres_all").targets().shape == (8, 5)


def test_clips_of_a_larger_folder(tmp_path: Path) -> None:
    root = write_fma(tmp_path)

    def folder(subset: str) -> str:
        return Path(fma.load(root, path=root, subset=subset).frame["path"][0]).parts[-3]

    (root / "fma_full").mkdir()
    assert [folder(size) for size in fma.SIZES] == [f"fma_{size}" for size in fma.SIZES]
    (root / "fma_large").mkdir()
    assert folder("small") == folder("medium") == "fma_large" and folder("full") == "fma_full"
    (root / "fma_medium").mkdir()
    assert folder("small") == "fma_medium"


def test_preparation(tmp_path: Path) -> None:
    root = write_fma(tmp_path / "fma")
    for number, subset, *_ in TRACKS[:-5]:
        name = f"{number:06d}"
        assert subset == "small"
        write_mp3(root / "fma_small" / name[:3] / f"{name}.mp3", 200 + number % 1000)
    (root / "fma_small/099/099134.mp3").write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x23" + bytes(9))
    missing = root / "fma_small/133/133297.mp3"
    assert not missing.exists()
    config = compose("train", ["dataset=fma", f"dataset.path={root}", "dataset.max_bad=0.5"])
    manifest = load_manifest(config)
    with pytest.raises(ValueError, match="no usable track in split test"):
        decode_tracks(manifest, config, 16_000)
    write_mp3(missing, 300)
    data = decode_tracks(manifest, config, 16_000)
    assert [Path(path).name for path in data.left_out["path"]] == ["099134.mp3"]
    assert set(data.manifest.frame["split"]) == {"train", "validation", "test"}
    assert data.store.lengths == pytest.approx([8000] * 7, abs=1200)  # an encoder's frames


def test_refusals(tmp_path: Path) -> None:
    def refused(root: Path | None, **arguments: str) -> str:
        return refusal(fma.load, tmp_path, path=root, **arguments)

    assert "dataset=fma needs dataset.path=DIR; get it at https://github.com" in refused(None)
    assert "is not a folder" in refused(tmp_path / "nowhere")
    assert f"dataset.path={tmp_path} has no fma_metadata/tracks.csv; get it" in refused(tmp_path)
    root = write_fma(tmp_path / "fma")
    assert "dataset.subset=tiny must be one of small, medium" in refused(root, subset="tiny")
    assert "dataset.labels=all must be one of genre_top" in refused(root, labels="all")
    tracks, genres = root / "fma_metadata/tracks.csv", root / "fma_metadata/genres.csv"
    genres.write_text(GENRES.replace("45,", "46,"))
    assert f"{genres} has no genre 45" in refused(root, labels="genres_all")
    genres.write_text(GENRES.replace("title", "name"))
    assert f"{genres} is not as published: it has no column 'title'" in refused(
        root, labels="genres_all"
    )
    genres.unlink()
    assert "has no fma_metadata/genres.csv" in refused(root, labels="genres_all")
    tracks.write_text("version https://git-lfs.github.com/spec/v1\nsize 9917056\n")
    assert f"{tracks} is not as published: it has no column 'set.split'" in refused(root)
    tracks.write_bytes(b"\xff\xfe\x00")
    assert f"{tracks} cannot be read" in refused(root)
    assert "dataset.subset=huge must be" in refusal(fma.card, subset="huge")
    assert [a.url.rpartition("/")[2] for a in fma.card(subset="large", labels="x").archives] == [
        *("fma_metadata.zip", "fma_large.zip")
    ]
