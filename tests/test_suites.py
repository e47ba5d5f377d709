"""Suites: what ships composes, what is typed goes before it, and runs are known by what matters."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.job import Job
from benchmarks.suite import Absent, expand, read_suite, row_of
from tests.conftest import TINY_SYNTH, Run, write_music
from zoo.errors import InputError
from zoo.registry import choices

SHIPPED = ("smoke", "synth", "frontends", "gtzan", "fma_small", "mtat", "jamendo_genre")
SHIPPED += ("pretrained", "groove", "leak", "efficiency")
AT_HAND = (
    "smoke",
    "synth",
    "frontends",
    "leak",
    "efficiency",
)  # they need no data but the project's own


def jobs_of(suite: str, *typed: str, folder: Path = Path("runs")) -> list[Job]:
    jobs, absent = expand(read_suite(suite), typed, folder)
    assert not absent
    return jobs


def tiny(tmp_path: Path, **changes: object) -> str:
    """Write a suite of one model on eight artists, and return its file."""
    content = {
        "about": "tiny",
        "settings": {"epochs": 1},
        "grids": [
            {
                "data": [{"dataset": "synth"}],
                "models": [{"model": "linear"}],
                "seeds": [0, 1],
            }
        ],
        **changes,
    }
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(file)


def test_the_suites_that_ship() -> None:
    assert set(SHIPPED) <= set(choices("suite"))


@pytest.mark.parametrize("suite", choices("suite"))
def test_each_suite_is_valid_and_its_rows_differ(suite: str) -> None:
    for grid in read_suite(suite).grids:
        rows = [row_of(model) for model in grid.models]
        assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("suite", AT_HAND)
def test_each_run_of_a_suite_composes(suite: str) -> None:
    jobs = jobs_of(suite, *TINY_SYNTH)
    assert len({job.folder for job in jobs}) == len(jobs)
    assert {job.state for job in jobs} == {"missing"}


def test_synth_has_every_model_and_three_seeds_of_eight() -> None:
    jobs = pd.DataFrame(
        [(j.config["model"]["name"], j.seed) for j in jobs_of("synth", *TINY_SYNTH)]
    )
    seeds = jobs.groupby(0)[1].nunique()
    assert set(seeds.index) == set(choices("model")) - {"hf"}  # which only a checkpoint makes one
    assert (seeds == 3).sum() == 8 and seeds.isin([1, 3]).all()


@pytest.mark.parametrize("suite", sorted({*SHIPPED} - {*AT_HAND}))
def test_data_that_is_not_at_hand_is_asked_for(suite: str, tmp_path: Path) -> None:
    jobs, absent = expand(read_suite(suite), [], tmp_path)
    assert not jobs
    reasons = {one.reason for one in absent}
    assert all("dataset.path" in reason for reason in reasons), reasons


def test_a_dry_run_fetches_no_weights(tmp_path: Path) -> None:
    rows = [{"checkpoint": "facebook/hubert-base-ls960", "finetune": "head"}]
    suite = read_suite(tiny(tmp_path, grids=[{"data": [{"dataset": "synth"}], "models": rows}]))
    jobs, absent = expand(suite, TINY_SYNTH, tmp_path, remote=False)
    assert not jobs and "facebook/hubert-base-ls960 is not here" in absent[0].reason


def test_files_that_are_missing_are_counted(tmp_path: Path) -> None:
    splits = ["train", "validation", "test"] * 2
    table = pd.DataFrame({"path": [*"abcdef"], "label": [*"xxxyyy"], "split": splits})
    table.to_csv(tmp_path / "t.csv", index=False)
    typed = ["dataset=manifest", f"dataset.path={tmp_path / 't.csv'}"]
    _, absent = expand(read_suite(tiny(tmp_path)), typed, tmp_path)
    assert "6 of 6 files are missing (train 2, validation 2, test 2)" in absent[0].reason


def test_what_is_typed_goes_before_what_the_suite_says(tmp_path: Path) -> None:
    write_music(tmp_path / "music", ["a", "b"])
    typed = ("dataset=folder", f"dataset.path={tmp_path / 'music'}", "epochs=7")
    jobs = jobs_of("leak", *typed)  # three splits of synth become one data set
    assert {job.manifest.name for job in jobs} == {"music"}
    assert {job.config["epochs"] for job in jobs} == {7}
    assert len(jobs) == 6


def test_a_run_is_known_by_what_its_scores_follow_from(tmp_path: Path) -> None:
    def names(*typed: str) -> list[str]:
        return [job.folder.name for job in jobs_of(tiny(tmp_path), *TINY_SYNTH, *typed)]

    once = names()
    assert len(set(once)) == 2  # the seeds
    assert names("threads=2", "tracker=tensorboard", "audit=strict") == once
    changes = ("epochs=2", "batch_size=4", "dataset.tracks=2", "optimizer.lr=0.1", "split=random")
    others = [names(change) for change in changes]
    assert len({*once, *(name for other in others for name in other)}) == 2 * (1 + len(changes))


def test_moved_music_is_the_same_and_relabelled_music_is_not(tmp_path: Path) -> None:
    def names(folder: Path) -> list[str]:
        typed = ("dataset=folder", f"dataset.path={folder}")
        return [job.folder.name for job in jobs_of(tiny(tmp_path), *typed)]

    write_music(tmp_path / "here" / "music", ["a", "b"])
    before = names(tmp_path / "here" / "music")
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "music").rename(tmp_path / "there" / "music")
    assert names(tmp_path / "there" / "music") == before
    music = tmp_path / "there" / "music"
    (music / "a" / "0.wav").rename(music / "b" / "new.wav")
    assert not set(names(music)) & set(before)


def test_weights_are_looked_up_and_count_by_their_content(tmp_path: Path) -> None:
    rows = [{"model": "fcn", "checkpoint": "mtat/fcn/best_model.pth", "finetune": "full"}]
    grid = {"data": [{"dataset": "synth"}], "models": rows}
    suite = tiny(tmp_path, grids=[grid])
    weights = tmp_path / "models" / "mtat" / "fcn" / "best_model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"one")
    (job,), _ = expand(read_suite(suite), TINY_SYNTH, tmp_path, tmp_path / "models")
    assert job.config["checkpoint"] == str(weights)
    assert job.row == "fcn full from mtat/fcn"
    (again,), _ = expand(read_suite(suite), TINY_SYNTH, tmp_path, tmp_path / "models")
    assert again.folder == job.folder
    _, absent = expand(read_suite(suite), TINY_SYNTH, tmp_path, tmp_path / "elsewhere")
    assert isinstance(absent[0], Absent) and "best_model.pth" in absent[0].reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grid": []}, "grid of"),
        ({"grids": []}, "grids of"),
        ({"grids": [{"data": [{}], "models": [{"model": "crnn"}], "seed": [0]}]}, "seed of"),
    ],
)
def test_a_file_that_is_no_suite(changes: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_suite(tiny(tmp_path, **changes))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("suite=smok", "suite=smok must be one of"),
        ("suit=smoke", "suit is unknown; did you mean suite?"),
        ("suite=smoke engine=slurm", "engine=slurm must be one of local, ray"),
        ("suite=smoke epoch=3", "did you mean epochs"),
        ("suite=smoke dataset=folder dataset.path=nowhere", "nowhere is not a folder"),
        ("suite=smoke workers=many", "workers"),
        ("suite=no/such.yaml", "no/such.yaml cannot be read"),
        ("suite=gtzan", "dataset.path"),
    ],
)
def test_a_mistake_ends_with_one_sentence(
    typed: str, said: str, python: Run, tmp_path: Path
) -> None:
    done = python("benchmarks", *typed.split(), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and said in done.stderr
