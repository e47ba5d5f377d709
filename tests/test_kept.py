"""The results that are kept: what is taken, what is refused and why, what ranks, what is built."""

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from conftest import Run
from leaderboard.__main__ import main
from leaderboard.board import read_board
from leaderboard.choose import choose, parse_size
from leaderboard.command import command_of
from leaderboard.kept import VERIFIED, Verified, read_kept
from leaderboard.protocols import RESULTS, sha256
from leaderboard.submit import submit
from tests.runs import change_result, change_scores, make_run
from zoo.config import compose
from zoo.errors import InputError

SEEDS = range(3)


def keep(folder: Path, results: Path, verified: bool = True, **run: object) -> Path:
    """Make a run and submit it; `verified` as if its weights had been scored again."""
    made = submit(make_run(folder, **run), results, new_protocol=True)  # type: ignore[arg-type]
    if verified:
        said = Verified(
            scores=sha256(made / "scores.parquet"),
            weights="0" * 64,
            largest_difference=0,
            processor="Z80",
            versions={},
        )
        (made / VERIFIED).write_text(said.model_dump_json())
    return made


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A public leaderboard of two models, three verified seeds each."""
    for model, skill in {"good": 0.9, "bad": 0.1}.items():
        for seed in SEEDS:
            keep(
                tmp_path / f"{model}{seed}", tmp_path / "kept", seed=seed, model=model, skill=skill
            )
    return tmp_path / "kept"


def cut(name: str) -> Callable[[Path], object]:
    def half(run: Path) -> None:
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: len(content) // 2])

    return half


def copy_beside(run: Path) -> None:
    shutil.copytree(run, run.with_name("copy"))


def shuffle(run: Path) -> None:
    table = pd.read_parquet(run / "scores.parquet")
    columns = [name for name in table if name.startswith("p:")]
    table[columns] = table[columns].to_numpy()[::-1].copy()
    table.to_parquet(run / "scores.parquet")


def damage_measure(run: Path) -> None:
    (run / "measures").mkdir()
    (run / "measures" / "length.parquet").write_text("x")


WRONG = {
    "a result cut short": (cut("result.json"), "is not a valid result"),
    "scores cut short": (cut("scores.parquet"), "cannot be read as scores"),
    "no result": (lambda run: (run / "result.json").unlink(), "cannot be read"),
    "no scores": (lambda run: (run / "scores.parquet").unlink(), "cannot be read as scores"),
    "another schema": (
        lambda run: change_result(run, lambda r: r.update(schema_version=2)),
        "schema_version",
    ),
    "a metric that the scores do not give": (
        lambda run: change_result(run, lambda r: r["metrics"]["test"].update(log_loss=0.01)),
        "says test log_loss 0.010000, but scores.parquet beside it gives",
    ),
    "other scores": (lambda run: change_scores(run, "p:rock", 0.0), "must sum to 1"),
    "an unknown protocol": (
        lambda run: change_result(run, lambda r: r["protocol"].update(split="mine")),
        "is of an unknown protocol: gtzan, split mine",
    ),
    "scores of other tracks": (
        shuffle,
        "says test accuracy",
    ),
    "another artist of a track": (
        lambda run: change_scores(run, "artist", "one and the same"),
        "names other artists or groups than",
    ),
    "another seed than its config": (
        lambda run: change_result(run, lambda r: r.update(seed=9)),
        "says seed 9, but its config another",
    ),
    "a config of another form": (
        lambda run: change_result(run, lambda r: r["config"].update(model="crnn")),
        "has no section 'model'",
    ),
    "a log that is none": (
        lambda run: (run / "log.csv").write_text("epoch,train_loss\none,two\n"),
        "is no table of numbers",
    ),
    "a damaged measure": (damage_measure, "cannot be read"),
    "a run twice": (copy_beside, "is of the protocol, recipe and seed of"),
    "a verification of other scores": (
        lambda run: (run / VERIFIED).write_text(
            (run / VERIFIED).read_text().replace('"scores":"', '"scores":"x')
        ),
        "is of other scores than those beside it",
    ),
    "a damaged verification": (cut(VERIFIED), "is damaged"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_result_is_refused_with_its_reason(
    results: Path, name: str, tmp_path: Path
) -> None:
    bad = keep(tmp_path / "run", results, model="new")
    damage, reason = WRONG[name]
    damage(bad)
    kept = read_kept(results)
    (refused,) = kept.refused
    assert reason in refused.reason and refused.folder.is_relative_to(bad.parent)
    expected = 7 if name == "a run twice" else 6
    assert len(kept.runs) == expected and len(kept.ranked) == expected


def test_what_is_refused_is_named_and_the_rest_is_built(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = keep(tmp_path / "run", results, model="new")
    change_result(bad, lambda r: r["metrics"]["test"].update(accuracy=1.0))
    out = tmp_path / "out"
    assert main(["build", "--results", str(results), "--out", str(out)]) == 1
    assert f"{bad} is refused: {bad / 'result.json'} says test accuracy" in capsys.readouterr().err
    assert "1 result was refused" in (out / "index.html").read_text()


def test_a_refused_result_does_not_speak_against_those_that_are_verified(
    results: Path, tmp_path: Path
) -> None:
    before = read_kept(results)
    forged = keep(tmp_path / "forged", results, verified=False, model="forged")
    change_scores(forged, "artist", "one and the same")
    os.utime(forged / "result.json", (0, 0))  # the oldest of all
    kept = read_kept(results)
    assert kept.ranked == before.ranked
    assert [refused.folder for refused in kept.refused] == [forged]


def test_what_is_not_verified_is_shown_and_does_not_rank(results: Path, tmp_path: Path) -> None:
    for seed in SEEDS:
        keep(tmp_path / f"x{seed}", results, verified=False, seed=seed, model="x", skill=0.99)
    (section,) = read_board(results).sections
    rows = section.rows.set_index("name")
    assert not rows.loc["x", "verified"] and pd.isna(rows.loc["x", "rank_low"])
    assert section.rows["name"].tolist()[-1] == "x"  # below all that rank, though its mean is best
    assert "**Take good**" in section.recommendation
    assert "x (not verified)" in build_text(results, tmp_path)
    with pytest.raises(InputError, match="'x' is none of the models"):
        main(["compare", "x", "bad", str(results)])


def test_a_seed_that_is_not_verified_takes_nothing_from_those_that_are(
    results: Path, tmp_path: Path
) -> None:
    before = read_board(results).sections[0].rows
    keep(tmp_path / "fourth", results, verified=False, seed=3, model="good", skill=0.2)
    pd.testing.assert_frame_equal(read_board(results).sections[0].rows, before)


def test_of_those_that_rank_is_said_where_others_stand_higher(
    results: Path, tmp_path: Path
) -> None:
    keep(tmp_path / "lucky", results, model="lucky", skill=1.0)
    (section,) = read_board(results).sections
    assert section.rows["name"].iloc[0] == "lucky"
    assert "Highest accuracy of the 2 that rank: good" in section.recommendation
    assert "All others that rank are worse" in section.recommendation


def build_text(results: Path, tmp_path: Path) -> str:
    assert main(["build", "--results", str(results), "--out", str(tmp_path / "out")]) == 0
    return (tmp_path / "out" / "README.md").read_text()


def test_in_a_folder_of_ones_own_every_protocol_and_every_run_counts(tmp_path: Path) -> None:
    for seed in SEEDS:
        make_run(tmp_path / "runs" / f"a{seed}", seed=seed, model="a", skill=0.9)
        make_run(tmp_path / "runs" / f"b{seed}", seed=seed, model="b", skill=0.1)
    (section,) = read_board(tmp_path / "runs").sections
    assert section.rows["verified"].all() and section.rows["rank_low"].tolist() == [1, 2]
    assert "**Take a**" in build_text(tmp_path / "runs", tmp_path)


def test_submit_refuses_an_unknown_protocol(results: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", split="mine")
    with pytest.raises(InputError, match=r"is of a protocol .* There are gtzan, given, complete"):
        submit(run, results)
    assert submit(run, results, new_protocol=True).exists()
    with pytest.raises(InputError, match="cannot be the name of a folder"):
        submit(make_run(tmp_path / "bad", model="../up"), results)


def test_check_tells_stale_files(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    check = ["build", "--check", "--results", str(results), "--out", str(out)]
    assert main(check) == 1  # nothing is there
    names = ["README.md", "index.html", "leaderboard.csv", "leaderboard.parquet"]
    assert all(f"{out / name} is stale" in (said := capsys.readouterr().out) for name in names[:1])
    assert [name for name in names if name in said] == names
    build_text(results, tmp_path)
    assert main(check) == 0
    (out / "README.md").write_text((out / "README.md").read_text().replace("good", "better"))
    assert main(check) == 1
    assert "README.md is stale" in capsys.readouterr().out
    build_text(results, tmp_path)
    keep(tmp_path / "another", results, model="another")
    assert main(check) == 1
    assert all(name in capsys.readouterr().out for name in names[:1])


def test_the_tables_hold_the_same_numbers(results: Path, tmp_path: Path) -> None:
    text = build_text(results, tmp_path)
    rows = pd.read_csv(tmp_path / "out" / "leaderboard.csv")
    pd.testing.assert_frame_equal(
        rows[["name", "mean", "low", "high"]],
        pd.read_parquet(tmp_path / "out" / "leaderboard.parquet")[["name", "mean", "low", "high"]],
        check_dtype=False,
    )
    assert rows["name"].tolist() == ["good", "bad"]
    assert all(f"{mean:.3f}" in text for mean in rows["mean"])


def test_choose(results: Path, tmp_path: Path) -> None:
    for seed in SEEDS:
        run = {"seed": seed, "model": "large", "skill": 0.9, "parameters": 10**8}
        keep(tmp_path / f"large{seed}", results, **run)
    board = read_board(results)
    (said,) = choose(board, None, None, None)
    assert said.startswith("gtzan, split given: take good, accuracy 0.")
    assert "large" in said and "1,234 parameters" in said
    (said,) = choose(board, None, parse_size("1K"), None)
    assert "no verified row of 3 seeds up to 1,000 parameters" in said
    (said,) = choose(board, "cpu", None, None)
    assert "no verified row of 3 seeds measured on cpu" in said  # no cost was measured
    with pytest.raises(
        InputError, match=r"--dataset gtzzan was not measured; did you mean gtzan\?"
    ):
        choose(board, None, None, "gtzzan")
    with pytest.raises(InputError, match="--max-params 5X is no number"):
        parse_size("5X")
    assert parse_size("1.5m") == 1.5e6


def test_a_choice_is_made_among_what_the_limits_leave(tmp_path: Path) -> None:
    for seed in SEEDS:
        for model, skill, size in [("huge", 0.95, 10**9), ("weak", 0.1, 10**3)]:
            run = {"seed": seed, "model": model, "skill": skill, "parameters": size}
            keep(tmp_path / f"{model}{seed}", tmp_path / "kept", **run)
    board = read_board(tmp_path / "kept")
    assert "take huge" in choose(board, None, None, None)[0]
    assert "take weak" in choose(board, None, parse_size("1M"), None)[0]


def test_the_command_gives_the_configuration_again() -> None:
    one_of_each = {r.result.model: r.result.config for r in read_kept(RESULTS).runs}
    for config in one_of_each.values():
        if config["checkpoint"]:
            continue
        command = shlex.split(command_of(config))
        typed = [a for a in command[3:] if a != "dataset.path=DIR"]
        again = compose("train", typed)
        for name in (
            "optimizer",
            "model",
            "frontend",
            "epochs",
            "seed",
            "augment",
            "loss",
            "split",
        ):
            assert again[name] == config[name], command


def test_the_built_files_of_the_project_are_not_stale() -> None:
    assert main(["build", "--check"]) == 0


def test_commands_of_a_user_that_go_wrong(tmp_path: Path, python: Run) -> None:
    wrong = {
        "nowhere is no folder": ["build", "--results", "nowhere"],
        "--max-params many is no number of parameters": ["choose", "--max-params", "many"],
        "did you mean crnn": ["compare", "crmn", "fcn"],
        f"{tmp_path} holds no result.json": ["submit", str(tmp_path)],
        "/tmp/nowhere is no folder": ["verify", "/tmp/nowhere"],
    }
    for said, arguments in wrong.items():
        with pytest.raises(InputError) as refusal:
            main(arguments)
        assert said in str(refusal.value) and "\n" not in str(refusal.value)
    ran = python("leaderboard", "verify", "nowhere", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: nowhere is no folder") and ran.stderr.count("\n") == 1
