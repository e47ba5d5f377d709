"""The guide: every command runs, every link leads somewhere, every picture is ours.

A page is run as its reader would: the fenced blocks `bash` and `python`, one after the other, in a
folder that holds what the guide assumes a reader to have (docs/index.md, "What the names mean"):
`Music`, `song.mp3`, `tracks.csv`, and `RUN` and `MODEL`, a run of a linear model trained on that.
Each block must exit with 0. What cannot be run here (downloads, several machines) is in blocks of
another language. Comments in a page say what differs:

    <!-- test: exit 2 -->             the next block must exit with that instead
    <!-- test: needs zoo.explore -->  the next block is skipped where there is no such module
    <!-- test: slow -->               the page is left to `make test-all`
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

import zoo
from tests.conftest import Run
from tests.guide import (
    DOCS,
    NOTEBOOK,
    PAGES,
    ROOT,
    WRITTEN,
    Block,
    anchors,
    blocks,
    is_slow,
    links,
    prose,
    shown,
)
from zoo.config import compose
from zoo.datasets import synth

RUN = ("bash", "python")
MADE_BY_CODE = {"models.md"}  # and tested elsewhere
ASSETS = sorted((DOCS / "assets").glob("*.*"))
MOST_BYTES = 60_000
MOST_LINES = {"references.md": 130, "serving.md": 120}
PLACES = ("/tmp/", "/work/", "/root/", "/home/", "/usr/", "pypi", "TODO", "FIXME")


def runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in RUN]


def page_params() -> list[object]:
    pages = [page for page in PAGES if runnable(page)]
    marks = [[pytest.mark.slow] if is_slow(page) else [] for page in pages]
    return [
        pytest.param(page, marks=mark, id=str(page.relative_to(DOCS)))
        for page, mark in zip(pages, marks, strict=True)
    ]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, cache: Path, python: Run) -> Path:
    """A folder with what the guide assumes a reader to have."""
    folder = tmp_path_factory.mktemp("reader")
    tracks = synth.load(cache, artists=8, tracks=1, seconds=3.0).frame
    names = [f"Music/{row.label}/{row.artist}.flac" for row in tracks.itertuples()]
    for source, name in zip(tracks["path"], names, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name)
    table = pd.DataFrame({"path": names, "label": tracks["label"], "artist": tracks["artist"]})
    table.to_csv(folder / "tracks.csv", index=False)
    soundfile.write(folder / "song.mp3", *soundfile.read(folder / names[0]), format="MP3")
    command = ("zoo.train", "model=linear", "dataset=folder", "dataset.path=Music", "epochs=2")
    done = python(*command, "output_dir=RUN", cwd=folder)
    assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "RUN", folder / "MODEL")
    return folder


@pytest.fixture
def here(reader: Path, tmp_path: Path) -> Path:
    """The folder in which a page is run."""
    for thing in reader.iterdir():
        if thing.name in ("RUN", "MODEL"):
            shutil.copytree(thing, tmp_path / thing.name)
        else:
            (tmp_path / thing.name).symlink_to(thing)
    return tmp_path


@pytest.mark.parametrize("page", page_params())
def test_commands_of_a_page_run(page: Path, here: Path) -> None:
    missing = []
    for block in runnable(page):
        if block.needs and importlib.util.find_spec(block.needs) is None:
            missing.append(block.needs)
            continue
        done = block.run(here)
        assert done.returncode == block.exit, f"{block.text}\n{done.stdout}\n{done.stderr}"
    if len(missing) == len(runnable(page)):
        pytest.skip(f"there is no {missing[0]} yet")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_commands_that_are_only_shown_are_well_formed(page: Path) -> None:
    for module, arguments in shown(page):
        assert importlib.util.find_spec(module), module
        if module in ("zoo.train", "zoo.prepare", "zoo.audit"):
            keys = [key for key in arguments if "=" in key and not re.search(r"\$|checkpoint", key)]
            compose(module.removeprefix("zoo."), keys)


@pytest.mark.slow
def test_the_notebook_runs(here: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    path = f"{Path(sys.executable).parent}:$PATH"
    setup = nbformat.v4.new_code_cell(f"%env PATH={path}\n%env OMP_NUM_THREADS=1")
    check = nbformat.v4.new_code_cell("assert _exit_code == 0")
    cells = [[cell, check] if is_command(cell) else [cell] for cell in notebook.cells]
    notebook.cells = [setup, *(cell for both in cells for cell in both)]
    place = {"metadata": {"path": str(here)}}
    NotebookClient(notebook, timeout=600, resources=place).execute()
    assert (here / "emb.parquet").is_file()


def is_command(cell: dict[str, str]) -> bool:
    return cell["cell_type"] == "code" and cell["source"].startswith("!")


def test_the_notebook_is_valid_and_holds_no_outputs() -> None:
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_scripts_for_slurm_are_shell() -> None:
    scripts = [b.text for page in PAGES for b in blocks(page) if b.language == "slurm"]
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        assert script.startswith("#!/bin/bash\n#SBATCH")


@pytest.mark.parametrize("page", [*WRITTEN, NOTEBOOK], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith("http://127.0.0.1"):
            continue
        if "://" in link:
            assert re.fullmatch(r"https://[\w.-]+\.[a-z]{2,}(/[\w.~%+/#-]*)?", link), link
            assert "example" not in link
            assert "arxiv" not in link or "/abs/" in link, link
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {link}"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name not in MADE_BY_CODE], ids=lambda p: str(p.relative_to(DOCS))
)
def test_a_page_is_short_and_says_nothing_of_this_machine(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(text.splitlines()) <= MOST_LINES.get(page.name, 110)
    for place in PLACES:
        assert place not in prose(page), place
    if page.name != "serving.md":
        last = text.rpartition("## Try next")[2]
        assert 2 <= len(re.findall(r"(?m)^- ", last)) <= 3


def test_every_model_and_front_end_has_a_page() -> None:
    text = "".join(page.read_text("utf-8") for page in (DOCS / "models").glob("*.md"))
    named = set(re.findall(r"`(\w+)`", text))
    assert set(zoo.list_models()) <= named
    assert set(zoo.list_frontends()) - {"waveform_24k", "waveform_32k"} <= named


@pytest.mark.parametrize("file", ASSETS, ids=lambda f: f.name)
def test_a_picture_is_small_and_used(file: Path) -> None:
    assert file.stat().st_size <= MOST_BYTES
    used = [page for page in PAGES if f"assets/{file.name}" in page.read_text("utf-8")]
    assert used or file.suffix == ".css"


def amplitudes(file: Path) -> np.ndarray:
    """Return the mel spectrogram of a sound, in amplitudes."""
    x_T, rate = soundfile.read(file)
    return np.sqrt(librosa.feature.melspectrogram(y=x_T, sr=rate, n_mels=64))


@pytest.mark.slow
def test_pictures_and_sounds_are_made_by_the_script(tmp_path: Path) -> None:
    subprocess.run([sys.executable, DOCS / "figures.py", tmp_path], check=True)
    made = {file.name for file in tmp_path.iterdir()}
    assert made == {file.name for file in ASSETS if file.suffix != ".css"}
    for file in tmp_path.glob("*.mp3"):
        ours, theirs = amplitudes(DOCS / "assets" / file.name), amplitudes(file)
        apart = np.linalg.norm(ours - theirs) / np.linalg.norm(ours)
        assert apart < 0.2  # 0.3 and more for another sound; phases differ between processors
