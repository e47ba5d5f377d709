"""`python -m zoo.embed`: resumed, brought up to date, checked; by Ray the same."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile

import zoo.embed
import zoo.embedded
import zoo.growing
from conftest import Run
from trained import RATE, sound, write_library
from zoo import create_model
from zoo.errors import InputError
from zoo.inference import hear
from zoo.library import Library, read_library
from zoo.opening import open_runner

NUM = 6  # tracks of each genre


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `music`, and two models."""
    made = tmp_path_factory.mktemp("embed")
    write_library(made / "music", per_genre=NUM)
    for name in ("model", "other"):
        model = create_model("linear", num_classes=3, overrides=["clip_seconds=0.5"])
        model.save_pretrained(made / name)
    return made


@pytest.fixture
def here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to change."""
    shutil.copytree(folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def embed(*arguments: str, code: int = 0) -> Library:
    arguments = (*arguments, "--out", "emb.parquet")
    if code == 0:
        zoo.embed.main(arguments)
    else:
        with pytest.raises(SystemExit) as error:
            zoo.embed.main(arguments)
        assert error.value.code == code
    return read_library(Path("emb.parquet"))


def row_of(library: Library, name: str) -> int:
    (row,) = np.flatnonzero(library.tracks["path"].str.endswith(name))
    return int(row)


def test_the_file_holds_what_is_heard(here):
    library = embed("model", "music")
    assert len(library) == 3 * NUM
    runner = open_runner("model")
    for row, track in enumerate(hear(runner, library.tracks["path"].tolist())):
        np.testing.assert_array_equal(library.embedding_BD[row], track.embedding_D)
        np.testing.assert_allclose(
            library.tracks[[f"p:class_{k}" for k in range(3)]].iloc[row], track.prob_K, rtol=1e-6
        )
    first = library.tracks.iloc[row_of(library, "bass/02.flac")]
    assert (first["artist"], first["title"], first["seconds"]) == ("artist2", "bass 2", 0.8)
    origin = library.origin
    assert origin.weights == runner.about.weights and origin.model == str(here / "model")
    assert (origin.sample_rate, origin.clip_samples, origin.listen) == (RATE, RATE // 2, "all")
    assert origin.pooling == "mean over chunks" and origin.architecture == "linear on mel"


def test_only_what_is_new_or_changed_is_embedded(here, monkeypatch, capsys):
    before = embed("model", "music")
    heard = []

    def spying(runner, paths, *arguments, **options):
        heard.extend(Path(path).name for path in paths)
        yield from hear(runner, paths, *arguments, **options)

    monkeypatch.setattr(zoo.embedded, "hear", spying)
    written = Path("emb.parquet").stat().st_mtime_ns
    assert embed("model", "music").tracks.equals(before.tracks) and not heard
    assert Path("emb.parquet").stat().st_mtime_ns == written
    soundfile.write("music/bass/new.flac", sound("bass", 1, 50), RATE)
    soundfile.write("music/tone/03.flac", sound("hiss", 1, 51), RATE)
    Path("music/hiss/00.flac").unlink()
    after = embed("model", "music")
    assert sorted(heard) == ["03.flac", "new.flac"]
    assert "2 tracks to embed, 16 are there, 1 are gone" in capsys.readouterr().out
    assert len(after) == 3 * NUM
    assert not after.tracks["path"].str.endswith("hiss/00.flac").any()
    same, other = row_of(before, "bass/01.flac"), row_of(after, "bass/01.flac")
    np.testing.assert_array_equal(before.embedding_BD[same], after.embedding_BD[other])
    changed = before.embedding_BD[row_of(before, "tone/03.flac")]
    assert np.abs(changed - after.embedding_BD[row_of(after, "tone/03.flac")]).max() > 1


def test_a_part_of_the_library_leaves_the_rest(here):
    embed("model", "music")
    soundfile.write("music/bass/new.flac", sound("bass", 1, 50), RATE)
    assert len(embed("model", "music/bass")) == 3 * NUM + 1


def test_a_table_of_tracks_says_artist_and_title(here):
    table = pd.DataFrame({"path": ["music/bass/00.flac", "music/bass/01.flac"]})
    table.assign(artist=["Ms. Bass", ""]).to_csv("tracks.csv", index=False)
    library = embed("model", "tracks.csv")
    assert library.tracks["artist"].tolist() == ["Ms. Bass", "artist1"]
    table.assign(artist=["Mr. Bass", ""]).to_csv("tracks.csv", index=False)
    assert embed("model", "tracks.csv").tracks["artist"].tolist() == ["Mr. Bass", "artist1"]


def test_bad_files_are_named_and_tried_again(here, capsys):
    Path("music/bass/text.mp3").write_text("no music")
    assert len(embed("model", "music", code=1)) == 3 * NUM
    assert "text.mp3 cannot be decoded" in capsys.readouterr().err
    embed("model", "music", code=1)
    assert "1 tracks to embed" in capsys.readouterr().out


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_what_was_computed_survives(here, end):
    for number in range(150):
        shutil.copy(f"music/bass/{number % NUM:02d}.flac", f"music/{number}.flac")
    code = "import zoo.growing, zoo.embed; zoo.growing.SAVE_SECONDS = 0.01; zoo.embed.main()"
    slow = "import time; from zoo.runners_torch import ModelRunner as M; r = M.run; "
    slow += "M.run = lambda *a: (time.sleep(0.05), r(*a))[1]; "
    command = [sys.executable, "-c", slow + code, "model", "music", "--out", "emb.parquet"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=dict(os.environ))
    until = time.monotonic() + 60
    while len(list(Path().glob("emb.parquet.parts/*.parquet"))) < 3:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.01)
    process.send_signal(end)
    process.wait(60)
    kept = zoo.growing.Growing.open(Path("emb.parquet"), origin_of("model")).library()
    assert 0 < len(kept) < 3 * NUM + 150
    assert Path("emb.parquet").exists() == (end == signal.SIGINT)
    library = embed("model", "music")
    assert len(library) == 3 * NUM + 150 and not Path("emb.parquet.parts").exists()
    rows = library.tracks.set_index("path").index.get_indexer(kept.tracks["path"])
    np.testing.assert_array_equal(library.embedding_BD[rows], kept.embedding_BD)


def origin_of(name: str) -> zoo.embed.Origin:
    return zoo.embed.Origin.of(open_runner(name).about, name, "all")


def test_embeddings_of_another_model_are_not_mixed(here):
    embed("model", "music")
    with pytest.raises(InputError, match=r"parquet holds .* another kind \(weights .*\); give"):
        embed("other", "music")
    with pytest.raises(InputError, match=r"\(listen all, not 3x10s\)"):
        embed("model", "music", "--listen", "3x10s")
    assert len(read_library(Path("emb.parquet"))) == 3 * NUM


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["model", "gone", "--out", "e.parquet"], "gone does not exist; give audio files"),
        (["model", "empty", "--out", "e.parquet"], "empty has no audio file in it"),
        (["model", "music", "--out", "e.csv"], "--out e.csv must end in .parquet."),
        (["model", "music", "--out", "e.parquet", "--engine", "x"], "--engine=x must be one of"),
        (["model", "no.csv", "--out", "e.parquet"], "no.csv cannot be read as CSV or Parquet"),
        (["model", "x.csv", "--out", "e.parquet"], "x.csv names no tracks"),
        (["model", "music/bad", "--out", "e.parquet"], "none of the 1 tracks could be embedded"),
    ],
)
def test_wrong_input_is_one_sentence(here, arguments, sentence):
    (here / "empty").mkdir()
    (here / "music" / "bad").mkdir()
    (here / "music" / "bad" / "text.mp3").write_text("no music")
    (here / "x.csv").write_text("file\na.mp3\n")
    with pytest.raises(InputError) as error:
        zoo.embed.main(arguments)
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["text", "cut", "metadata", "column", "dimensions", "nan"])
def test_what_is_no_library(here, damage):
    file = Path("emb.parquet")
    embed("model", "music")
    table = pq.read_table(file)
    if damage == "text":
        file.write_text("no table")
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "metadata":
        pq.write_table(table.replace_schema_metadata({}), file)
    elif damage == "column":
        pq.write_table(table.drop_columns("seconds"), file)
    else:
        x_BD = read_library(file).embedding_BD
        x_BD = x_BD[:, :-1] if damage == "dimensions" else x_BD * np.nan
        lists = pq.read_table(file).to_pandas().assign(embedding=list(x_BD))
        changed = zoo.library.pa.Table.from_pandas(lists)
        pq.write_table(changed.replace_schema_metadata(table.schema.metadata), file)
    with pytest.raises(InputError, match=r"emb\.parquet") as error:
        read_library(file)
    assert str(error.value).count("\n") == 0


@pytest.mark.slow
def test_ray_computes_the_same(here, python: Run):
    library = embed("model", "music")
    Path("music/bass/text.mp3").write_text("no music")
    command = ("model", "music", "--out", "ray.parquet", "--engine", "ray")
    done = python("zoo.embed", *command, cwd=here)
    assert done.returncode == 1 and "text.mp3 cannot be decoded" in done.stderr
    theirs = read_library(here / "ray.parquet")
    assert theirs.tracks.equals(library.tracks)
    np.testing.assert_array_equal(theirs.embedding_BD, library.embedding_BD)
