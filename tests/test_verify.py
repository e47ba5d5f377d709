"""`leaderboard verify`: real weights are scored again, and must give the scores that are kept."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from conftest import TINY_SYNTH, Run
from leaderboard.kept import VERIFIED, read_kept
from leaderboard.submit import submit
from leaderboard.verify import verify
from tests.runs import change_result, change_scores
from zoo.errors import InputError


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, python: Run) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    arguments = ["model=linear", "dataset=synth", *TINY_SYNTH, "epochs=1", "output_dir=run"]
    ran = python("zoo.train", *arguments, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def test_weights_that_give_their_scores_rank(run: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with pytest.raises(InputError, match="submit it first"):
        verify(run, results=results)
    submit(run, results, new_protocol=True)
    assert not read_kept(results).ranked
    assert verify(run, results=results).largest_difference < 1e-5
    kept = read_kept(results)
    assert len(kept.ranked) == 1 and not kept.refused


def test_other_weights_do_not(run: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    folder = submit(run, results, new_protocol=True)
    (file,) = (run / "model").glob("*.safetensors")
    weights = load_file(file)
    name = next(name for name, w in weights.items() if w.dim() == 2 and w.shape[0] == 8)
    save_file({**weights, name: weights[name].flip(0)}, file)
    with pytest.raises(InputError, match="its weights give other scores"):
        verify(run, results=results)
    assert not (folder / VERIFIED).exists()


def test_other_artists_or_sizes_than_are_true_are_not_verified(run: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    folder = submit(run, results, new_protocol=True)
    whole = {name: (folder / name).read_bytes() for name in ("scores.parquet", "result.json")}
    change_scores(folder, "artist", "each track its own")
    with pytest.raises(InputError, match="names other labels, artists or groups"):
        verify(run, results=results)
    (folder / "scores.parquet").write_bytes(whole["scores.parquet"])
    change_result(folder, lambda r: r["costs"].update(parameters=1))
    with pytest.raises(InputError, match="its result says 1"):
        verify(run, results=results)
    (folder / "result.json").write_bytes(whole["result.json"])
    verify(run, results=results)


def test_a_run_without_weights_cannot_be_verified(run: Path, tmp_path: Path) -> None:
    submit(run, tmp_path / "results", new_protocol=True)
    shutil.rmtree(run / "model")
    with pytest.raises(InputError, match="has no weights"):
        verify(run, results=tmp_path / "results")


def test_the_command(run: Path, tmp_path: Path, python: Run) -> None:
    results = ("--results", "results")
    ran = python("leaderboard", "submit", "run", "--new-protocol", *results, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    ran = python("leaderboard", "verify", "run", *results, cwd=tmp_path)
    assert ran.returncode == 0 and "run: verified, probabilities differ by" in ran.stdout
