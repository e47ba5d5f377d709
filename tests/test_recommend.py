"""Neighbours against scikit-learn, the graph and its file; and recommendations from real files."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.neighbors import NearestNeighbors

import zoo
from conftest import write_music
from zoo import hnsw, neighbours
from zoo.errors import InputError, guard
from zoo.inference import Heard, hear
from zoo.library import Library, Origin, facts, read_library, to_table, write_library
from zoo.neighbours import Neighbours
from zoo.opening import open_runner
from zoo.recommend import main, recommend
from zoo.songs import Song, query

CLASSES = ("blues", "jazz", "rock")
NUM_FEATURES = 8
ORIGIN = Origin(
    model="runs/gone",
    weights="0123",
    architecture="crnn on mel",
    classes=CLASSES,
    sample_rate=16_000,
    clip_samples=16_000,
    pooling="mean over chunks",
    listen="all",
    num_features=NUM_FEATURES,
)


def cloud(num_rows: int, num_features: int = 32, num_clusters: int = 50) -> np.ndarray:
    """Points around centres, cluster after cluster."""
    random = np.random.default_rng(0)
    centre = random.standard_normal((num_clusters, num_features))
    cluster = np.arange(num_rows) * num_clusters // num_rows
    noise = random.standard_normal((num_rows, num_features))
    return (centre[cluster] + 0.5 * noise).astype(np.float32)


def write(folder: Path, num_tracks: int = 30, **changes: object) -> Path:
    """Write a library of random embeddings, and its files: an artist each three tracks, a class
    each track in turn, 100 s and more. `changes` are columns."""
    paths = [folder / CLASSES[i % 3] / f"{i}.mp3" for i in range(num_tracks)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    rows = [
        (str(path), 1, 1, 100.0 + i, f"artist {i // 3}", f"title {i}", CLASSES[i % 3])
        for i, path in enumerate(paths)
    ]
    tracks = facts(rows, CLASSES, np.full((num_tracks, 3), 1 / 3)).assign(**changes)
    x_BD = np.random.default_rng(0).standard_normal((num_tracks, NUM_FEATURES))
    write_library(folder / "emb.parquet", to_table(tracks, x_BD, ORIGIN))
    return folder / "emb.parquet"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Recommend from a library, and return the answers as they were written."""

    def run(file: Path, *arguments: str) -> pd.DataFrame:
        out = tmp_path / "answers.parquet"
        main([str(file), *arguments, "--out", str(out)])
        return pd.read_parquet(out)

    return run


def sentence(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line that the command fails with."""
    with pytest.raises(SystemExit) as caught:
        guard(lambda: main([*map(str, arguments)]))
    printed = capsys.readouterr()
    assert caught.value.code == 2 and printed.out == ""
    (line,) = printed.err.splitlines()
    return line.removeprefix("error: ")


# --- neighbours


def test_neighbours_are_those_of_scikit_learn() -> None:
    x_BD = cloud(500)
    ours, theirs = Neighbours(x_BD), NearestNeighbors(metric="cosine").fit(x_BD)
    among_B = np.arange(500) % 3 == 1
    chosen = NearestNeighbors(metric="cosine").fit(x_BD[among_B])
    for x_D in np.random.default_rng(1).standard_normal((20, 32)):
        distance, row = theirs.kneighbors(x_D[None], 7)
        similarity, ours_row = ours.search(x_D, 7)
        assert ours_row.tolist() == row[0].tolist()
        assert similarity == pytest.approx(1 - distance[0], abs=1e-5)
        row = chosen.kneighbors(x_D[None], 7, return_distance=False)[0]
        assert ours.search(x_D, 7, among_B)[1].tolist() == np.flatnonzero(among_B)[row].tolist()


def test_no_more_neighbours_than_rows() -> None:
    ours, among_B = Neighbours(cloud(5)), np.array([True, False, True, False, False])
    assert sorted(ours.search(np.ones(32), 9)[1]) == [0, 1, 2, 3, 4]
    assert sorted(ours.search(np.ones(32), 9, among_B)[1]) == [0, 2]
    assert len(ours.search(np.ones(32), 9, np.zeros(5, bool))[1]) == 0


def test_rows_that_are_zero_are_like_nothing() -> None:
    x_BD = cloud(50)
    x_BD[::2] = 0
    similarity_N, row_N = Neighbours(x_BD).search(x_BD[1], 50)
    assert row_N[0] == 1 and np.isfinite(similarity_N).all()
    assert (similarity_N[np.isin(row_N, np.arange(0, 50, 2))] == 0).all()
    assert (Neighbours(x_BD).search(np.zeros(32), 50)[0] == 0).all()


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Enough rows for a graph, had the limit not been lowered; a tenth are all zero."""
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 1000)
    x_BD = cloud(20_000)
    x_BD[::10] = 0
    return x_BD


@pytest.fixture
def no_exact(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What forbids to compare with all rows from then on."""

    def refuse(*_: object) -> None:
        raise AssertionError("searched exactly")

    return lambda: monkeypatch.setattr(Neighbours, "search_exactly", refuse)


def test_a_graph_finds_what_exact_search_finds(
    many: np.ndarray, no_exact: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    ours = Neighbours(many)
    assert ours.graph and ours.graph.recall >= hnsw.LEAST_RECALL
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("indexing 20,000 tracks: ")
    assert line.endswith(f"recall at 10 is {ours.graph.recall:.3f}")
    theirs = NearestNeighbors(metric="cosine").fit(many)
    rows = np.random.default_rng(7).choice(np.flatnonzero(many.any(1)), 100)
    among_B = np.ones(len(many), bool)
    among_B[rows] = False
    nearest = theirs.kneighbors(many[rows], 120, return_distance=False)
    no_exact()
    hits = []
    for row, near in zip(rows, nearest, strict=True):
        wanted = [n for n in near if among_B[n]][:10]
        hits.append(len(set(ours.search(many[row], 10, among_B)[1]) & set(wanted)))
        assert ours.search(many[row], 1)[1].tolist() == [row]
    assert np.mean(hits) >= 9.6


def test_among_rows_elsewhere_all_are_compared(many: np.ndarray) -> None:
    ours, exact = Neighbours(many), NearestNeighbors(metric="cosine")
    among_B = np.arange(20_000) >= 10_000  # clusters that the query is none of
    exact.fit(many[among_B])
    for row in range(1, 1000, 90):
        wanted = 10_000 + exact.kneighbors(many[[row]], 10, return_distance=False)[0]
        assert ours.search(many[row], 10, among_B)[1].tolist() == wanted.tolist()


def test_all_rows_can_be_asked_of_a_graph(many: np.ndarray) -> None:
    many = many[:2000]
    assert sorted(Neighbours(many).search(many[1], 3000)[1]) == list(range(2000))


def test_where_a_graph_finds_too_little_all_are_compared(
    many: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)  # no structure
    many[1000:2000] = many[0]
    ours = Neighbours(many, tmp_path / "emb.parquet")
    assert ours.graph and ours.graph.recall < hnsw.LEAST_RECALL
    assert "too little" in capsys.readouterr().err
    _, row_N = ours.search(many[2500], 10)
    assert row_N.tolist() == ours.search_exactly(many[2500], 10)[1].tolist()
    Neighbours(many, tmp_path / "emb.parquet")
    assert capsys.readouterr().err == ""


def test_a_graph_is_kept_and_fits_its_embeddings_alone(
    many: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many, library, kept = many[:5000], tmp_path / "emb.parquet", tmp_path / "emb.parquet.faiss"
    built = Neighbours(many, library)
    assert [*tmp_path.iterdir()] == [kept]
    assert kept.stat().st_size < 5000 * (4 * 2 * hnsw.LINKS + 64)  # without the embeddings
    capsys.readouterr()

    again = Neighbours(many, library)
    assert capsys.readouterr().err == "" and again.graph and built.graph
    assert (again.graph.width, again.graph.recall) == (built.graph.width, built.graph.recall)
    assert again.search(many[1], 10)[1].tolist() == built.search(many[1], 10)[1].tolist()

    many[5] += 1
    Neighbours(many, library)
    assert capsys.readouterr().err.startswith("indexing")
    Neighbours(many[:-1], library)
    assert capsys.readouterr().err.startswith("indexing 4,999")


@pytest.mark.parametrize("damage", ["cut", "bit", "head", "empty", "text", "folder"])
def test_a_damaged_graph_is_built_anew(
    damage: str, many: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = many[:2000]
    library, kept = tmp_path / "emb.parquet", tmp_path / "emb.parquet.faiss"
    Neighbours(many, library)
    content = bytearray(kept.read_bytes())
    place = {"bit": len(content) // 2, "head": content.index(b"recall") + 12}.get(damage, 0)
    content[place] ^= 1
    kept.unlink()
    if damage == "folder":
        kept.mkdir()
    else:
        damaged = {"cut": bytes(content[:-100]), "empty": b"", "text": b"a\nb\n"}
        kept.write_bytes(damaged.get(damage, bytes(content)))
    capsys.readouterr()
    ours = Neighbours(many, library)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("indexing 2,000") and ("written" in line) == (damage == "folder")
    assert ours.search(many[1], 1)[1].tolist() == [1]
    if damage != "folder":
        Neighbours(many, library)
        assert capsys.readouterr().err == ""


def test_threads_are_those_of_the_environment() -> None:
    code = "from zoo.hnsw import import_faiss; print(import_faiss().omp_get_max_threads())"
    environment = os.environ | {"OMP_NUM_THREADS": "3"}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "3\n"


def test_without_faiss(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert "pip install 'genre-zoo[recommend]'" in sentence(capsys, file, "--like", "0.mp3")


# --- the query


def test_the_query_is_rocchios() -> None:
    like = [Song("a", "", np.array([2.0, 0, 0])), Song("b", "", np.array([0, 5.0, 0]))]
    unlike = [Song("c", "", np.array([0, 0, 9.0]))]
    assert query(like) == pytest.approx(np.array([1, 1, 0]) / np.sqrt(2))
    assert query(like, unlike) == pytest.approx(np.array([1, 1, -1]) / np.sqrt(3))
    with pytest.raises(InputError, match=r"^a: .* cancel"):
        query([like[0], Song("b", "", np.array([-3.0, 0, 0]))])
    with pytest.raises(InputError, match="zero"):
        query([Song("a", "", np.zeros(3))])


# --- the command


def test_answers_are_those_of_scikit_learn(file: Path, ask: Callable[..., pd.DataFrame]) -> None:
    library = read_library(file)
    found = ask(file, "--like", str(library.tracks["path"][4]), "-k", "9")
    exact = NearestNeighbors(metric="cosine").fit(library.embedding_BD)
    distance, row = exact.kneighbors(library.embedding_BD[[4]], 10)
    columns = ["path", "artist", "title", "genre", "seconds"]
    wanted = library.tracks[columns].iloc[row[0][1:]].reset_index(drop=True)  # without the song
    pd.testing.assert_frame_equal(found[columns], wanted)
    assert found["rank"].tolist() == list(range(1, 10))
    assert found["similarity"].to_numpy() == pytest.approx(1 - distance[0][1:], abs=1e-5)


def test_neither_the_liked_nor_the_unliked_are_answers(
    file: Path, ask: Callable[..., pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    found = ask(file, "--like", "0.mp3", "jazz/1.mp3", "--unlike", "2.mp3", "-k", "30")
    named = {Path(path).name for path in found["path"]}
    assert named == {f"{i}.mp3" for i in range(3, 30)}
    assert capsys.readouterr().err == "27 tracks are all there is of the 30 asked for\n"


def test_what_is_unliked_falls(file: Path, ask: Callable[..., pd.DataFrame]) -> None:
    before = ask(file, "--like", "0.mp3", "-k", "29")
    worst = before["path"].iloc[:3]
    after = ask(file, "--like", "0.mp3", "--unlike", worst[0], "-k", "29")
    assert (
        before.set_index("path")["similarity"][worst[1]]
        > (after.set_index("path")["similarity"][worst[1]])
    )
    x_BD = hnsw.unit(read_library(file).embedding_BD)
    row = int(Path(worst[0]).stem)
    order = np.argsort(-(x_BD @ (x_BD[0] - 0.5 * x_BD[row])))
    expected = [f"{i}.mp3" for i in order if i not in (0, row)]
    assert [Path(path).name for path in after["path"]] == expected


def test_filters(file: Path, ask: Callable[..., pd.DataFrame]) -> None:
    def names(*arguments: str) -> set[int]:
        found = ask(file, "--like", "0.mp3", "-k", "30", *arguments)
        return {int(Path(path).stem) for path in found["path"]}

    assert names("--genre", "jazz") == set(range(1, 30, 3))
    assert names("--genre", "jazz", "blues") == set(range(1, 30)) - set(range(2, 30, 3))
    assert names("--artist", "artist 3", "--artist", "artist 0") == {1, 2, 9, 10, 11}
    assert names("--seconds", "105-110.5") == set(range(5, 11))
    assert names("--exclude-artist") == set(range(3, 30))
    assert names("--genre", "rock", "--exclude-artist", "--seconds", "0-110") == {5, 8}


def test_genres_of_several_labels(tmp_path: Path, ask: Callable[..., pd.DataFrame]) -> None:
    file = write(tmp_path, 4, genre=["rock|jazz", "jazz", "", "jazz|rock"])
    found = ask(file, "--like", "1.mp3", "--genre", "rock")
    assert {Path(path).name for path in found["path"]} == {"0.mp3", "3.mp3"}


def test_nobody_is_excluded_for_an_artist_that_is_not_known(
    tmp_path: Path, ask: Callable[..., pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, 6, artist=["", "", "a", "a", "b", ""])
    found = ask(file, "--like", "0.mp3", "2.mp3", "--exclude-artist", "-k", "3")
    assert {Path(path).name for path in found["path"]} == {"1.mp3", "4.mp3", "5.mp3"}
    said = "--exclude-artist leaves out nobody for 1 liked songs without an artist\n"
    assert capsys.readouterr().err == said


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, 4, artist="", title=["", "0042", "a\nb", ""])
    main([str(file), "--like", "0.mp3", "-k", "3"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["rank", "similarity", "path", "title", "genre", "length"]
    assert len(rows) == 3
    (row,) = (row for row in rows if "0042" in row)
    library = read_library(file)
    cosine = hnsw.unit(library.embedding_BD)[:2]
    path = library.tracks["path"][1]
    assert row.split()[1:] == [f"{cosine[0] @ cosine[1]:.3f}", path, "0042", "jazz", "1:41"]


def test_files_of_answers(file: Path, tmp_path: Path, ask: Callable[..., pd.DataFrame]) -> None:
    arguments = [str(file), "--like", "0.mp3", "-k", "5", "--out"]
    wanted = ask(*map(Path, arguments[:1]), *arguments[1:-1])
    for suffix, read in {".csv": pd.read_csv, ".json": pd.read_json}.items():
        main([*arguments, str(tmp_path / "new" / f"a{suffix}")])
        pd.testing.assert_frame_equal(
            read(tmp_path / "new" / f"a{suffix}"), wanted, check_dtype=False
        )


def test_a_playlist(tmp_path: Path) -> None:
    music = tmp_path / "two\nlines"
    artists, titles = ["x", "Björk", "", "a\r\nb"], ["x", "Jóga", "", "c\u2028d"]
    file = write(music, 4, artist=artists, title=titles)
    out = tmp_path / "list.m3u8"
    main([str(file), "--like", "0.mp3", "--out", str(out)])
    first, *lines = out.read_bytes().decode("utf-8").split("\n")
    assert first == "#EXTM3U" and lines.pop() == ""
    entries = dict(zip(lines[1::2], lines[::2], strict=True))
    known = {f"file://{music.as_posix()}/{CLASSES[i % 3]}/{i}.mp3": i for i in (1, 2, 3)}
    assert {known[address.replace("%0A", "\n")]: line for address, line in entries.items()} == {
        1: "#EXTINF:101,Björk - Jóga",
        2: "#EXTINF:102,2",
        3: "#EXTINF:103,a b - c d",
    }
    plain = write(tmp_path / "plain", 2)
    main([str(plain), "--like", "0.mp3", "--out", str(out)])
    assert out.read_text("utf-8").splitlines() == [
        "#EXTM3U",
        "#EXTINF:101,artist 0 - title 1",
        str(tmp_path / "plain" / "jazz" / "1.mp3"),
    ]


def test_files_that_are_gone_are_no_answers(
    file: Path, ask: Callable[..., pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ask(file, "--like", "0.mp3", "-k", "29")["path"]
    for path in [*paths[:12], paths[20]]:
        Path(path).unlink()
    capsys.readouterr()
    found = ask(file, "--like", "0.mp3", "-k", "3")
    assert found["path"].tolist() == paths[12:15].tolist()
    assert capsys.readouterr().err == "12 tracks are left out, as their files are gone\n"
    assert len(ask(file, "--like", "0.mp3", "-k", "29")) == 16
    said = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in said] == ["13", "16"]


def test_a_song_is_known_by_its_path(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., pd.DataFrame]
) -> None:
    (tmp_path / "link.mp3").symlink_to(tmp_path / "jazz" / "4.mp3")
    monkeypatch.chdir(tmp_path / "blues")
    names = ["4.mp3", "jazz/4.mp3", "../jazz/./4.mp3", "../link.mp3", str(tmp_path / "jazz/4.mp3")]
    found = [ask(file, "--like", name) for name in names]
    (tmp_path / "jazz" / "4.mp3").unlink()
    found.append(ask(file, "--like", str(tmp_path / "jazz" / "4.mp3")))
    for answers in found[1:]:
        pd.testing.assert_frame_equal(answers, found[0])


def test_queries_within_the_library_load_no_torch(file: Path) -> None:
    code = "import sys; from zoo.recommend import main; main(sys.argv[1:]); "
    code += "print([name for name in ('torch', 'faiss') if name in sys.modules])"
    command = [sys.executable, "-c", code, str(file), "--like", "0.mp3", "-k", "1"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "['faiss']"


def test_a_library_above_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 300)
    file = write(tmp_path, 600)
    arguments = [str(file), "--like", "7.mp3", "--exclude-artist", "-k", "5"]
    main(arguments)
    first = capsys.readouterr()
    assert first.err.startswith("indexing 600") and (tmp_path / "emb.parquet.faiss").is_file()
    main(arguments)
    assert capsys.readouterr() == (first.out, "")
    (tmp_path / "emb.parquet.faiss").unlink()
    main([*arguments, "--genre", "jazz"])
    assert capsys.readouterr().err == "" and not (tmp_path / "emb.parquet.faiss").exists()


# --- songs that are not in the library


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model, and the library of what it hears in some files."""
    folder = tmp_path_factory.mktemp("heard")
    write_music(folder / "music", ["low", "high"], per_label=3)
    zoo.create_model("linear").save_pretrained(folder / "model")
    runner = open_runner(folder / "model", 1)
    paths = sorted(map(str, (folder / "music").rglob("*.wav")))
    tracks = [h for h in hear(runner, paths, workers=1) if isinstance(h, Heard)]
    rows = [(h.path, 1, 1, h.seconds, h.artist, h.title, "") for h in tracks]
    table = to_table(
        facts(rows, runner.about.classes, [h.prob_K for h in tracks]),
        np.stack([h.embedding_D for h in tracks]),
        Origin.of(runner.about, str(folder / "model"), "all"),
    )
    write_library(folder / "emb.parquet", table)
    return folder / "emb.parquet", folder / "model"


def moved(file: Path, to: Path, **changes: object) -> Path:
    """Write a library again, of another origin."""
    library = read_library(file)
    origin = replace(library.origin, **changes)
    write_library(to, to_table(library.tracks, library.embedding_BD, origin))
    return to


def test_other_songs_are_heard(
    heard: tuple[Path, Path], tmp_path: Path, ask: Callable[..., pd.DataFrame]
) -> None:
    file, model = heard
    known = file.parent / "music" / "low" / "1.wav"
    copy = shutil.copy(known, tmp_path / "1.wav")
    within = ask(file, "--like", str(known))
    found = ask(file, "--like", str(copy))
    assert found["path"][0] == str(known) and found["similarity"][0] == pytest.approx(1, abs=1e-5)
    assert len(found) == 6 and len(within) == 5
    both = ask(file, "--like", str(copy), "low/2.wav", "--unlike", "high/0.wav")
    same = ask(file, "--like", str(known), "low/2.wav", "--unlike", "high/0.wav")
    assert both[both["path"] != str(known)]["path"].tolist() == same["path"].tolist()
    gone = moved(file, tmp_path / "emb.parquet", model=str(tmp_path / "gone"))
    pd.testing.assert_frame_equal(ask(gone, "--like", str(copy), "--model", str(model)), found)


def test_the_model_must_be_that_of_the_library(
    heard: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, model = heard
    copy = shutil.copy(file.parent / "music" / "low" / "1.wav", tmp_path / "other.wav")
    like, emb = ("--like", copy), tmp_path / "emb.parquet"
    gone = str(tmp_path / "gone")
    said = sentence(capsys, moved(file, emb, model=gone), *like)
    assert said.startswith(f"{copy} is not in {emb}, and the model of that cannot be opened: give")
    assert f"--model MODEL ({gone} " in said
    said = sentence(capsys, emb, *like, "--model", tmp_path / "none")
    assert "none" in said and "is not in" not in said
    for changes, differs in (
        ({"weights": "0"}, "weights "),
        ({"listen": "quietly"}, "--listen quietly"),
        ({"clip_samples": 9}, "clip samples "),
    ):
        said = sentence(capsys, moved(file, emb, **changes), *like)
        assert said.startswith(f"{copy} is not in {emb}") and differs in said
    zoo.create_model("crnn").save_pretrained(tmp_path / "crnn")
    said = sentence(capsys, file, *like, "--model", tmp_path / "crnn")
    assert "not the model of that" in said and str(model) in said


def test_a_song_that_cannot_be_heard(
    heard: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp3").touch()
    said = sentence(capsys, heard[0], "--like", tmp_path / "a.mp3")
    assert said == f"{tmp_path / 'a.mp3'} is empty."


# --- what is refused


def test_what_is_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    like = (file, "--like", "0.mp3")
    for arguments, expected in {
        ("-k", "0"): "-k 0 must be at least 1.",
        ("--out", "a.txt"): "--out a.txt must end in .csv or .json or .parquet or .m3u8.",
        ("--seconds", "5"): "--seconds 5 must be of the form MIN-MAX, such as 120-300.",
        ("--seconds", "9-5"): "--seconds 9-5 must be of the form MIN-MAX, such as 120-300.",
        ("--genre", "Jaz"): f"--genre Jaz: no track of {file} has it; did you mean jazz?",
        ("--artist", "artis 3"): "did you mean artist 3 or",
        ("--artist", "Zappa"): f"--artist Zappa: no track of {file} has it; see its column artist.",
        ("--unlike", "zzz"): f"zzz is neither a file nor a track of {file}; give a path, or",
        ("--seconds", "1-2"): f"{file} has no track to recommend, beside the songs given and what",
        ("--out", "emb.parquet/a.csv"): "--out emb.parquet/a.csv cannot be written: ",
    }.items():
        if arguments[1] == "emb.parquet/a.csv":
            with pytest.raises(InputError, match=expected):
                main([*map(str, like), *arguments])
            capsys.readouterr()
        else:
            assert expected in sentence(capsys, *like, *arguments)


def test_a_name_of_several_tracks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / name) for name in ("a/x.mp3", "b/x.mp3", "c/y.mp3")]
    file = write(tmp_path, 3, path=paths)
    said = sentence(capsys, file, "--like", "x.mp3")
    assert f"x.mp3 is the end of 2 paths in {file}, such as {paths[0]} and {paths[1]};" in said


def test_libraries_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.parquet").write_text("path,artist\n")
    said = sentence(capsys, tmp_path / "a.parquet", "--like", "x")
    assert said.startswith(f"{tmp_path / 'a.parquet'} cannot be read as Parquet: ")
    assert "does not exist" in sentence(capsys, tmp_path / "b.parquet", "--like", "x")
    pa.parquet.write_table(pa.table({"path": ["a"]}), tmp_path / "c.parquet")
    assert "does not say which model" in sentence(capsys, tmp_path / "c.parquet", "--like", "x")
    empty = write(tmp_path / "empty", 0)
    assert sentence(capsys, empty, "--like", "x") == f"{empty} holds no track; embed some."
    one = write(tmp_path / "one", 1)
    assert "has no track to recommend" in sentence(capsys, one, "--like", "0.mp3")


def test_all_files_gone(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for genre in CLASSES:
        shutil.rmtree(tmp_path / genre)
    said = sentence(capsys, file, "--like", "0.mp3", "-k", "2")
    assert said.startswith(f"{file}: all 29 files to choose from are gone, such as {tmp_path}")


def test_recommending_from_what_is_open(file: Path) -> None:
    library: Library = read_library(file)
    ours = Neighbours(library.embedding_BD)
    among_B = np.arange(30) < 10
    answers, gone = recommend(library, ours, library.embedding_BD[0], 20, among_B)
    assert len(answers) == 10 and gone == 0 and answers["similarity"].is_monotonic_decreasing
    assert json.loads(answers.to_json(orient="records"))[0]["path"] == library.tracks["path"][0]
