"""The wheel: complete, and runnable from any folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from conftest import TINY_SYNTH
from zoo.datasets import synth
from zoo.registry import configs_dir

REPOSITORY = Path(zoo.__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", str(REPOSITORY), "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("genre_zoo-*.whl")
    target = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return target


def test_wheel_holds_all_configs(installed: Path) -> None:
    packaged = installed / "zoo" / "configs"
    ours = {f.relative_to(configs_dir()) for f in configs_dir().rglob("*.yaml")}
    assert {f.relative_to(packaged) for f in packaged.rglob("*.yaml")} == ours
    assert (installed / "leaderboard" / "__main__.py").exists()
    facts = Path(zoo.__file__).parent / "datasets" / "facts"
    held = {f.name for f in (installed / "zoo" / "datasets" / "facts").iterdir()}
    assert held == {f.name for f in facts.iterdir()} and held
    assert not (installed / "tests").exists()


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the installed wheel, in a folder of the test's."""
    command, environment = [sys.executable, *arguments], os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_wheel_trains_from_any_folder(installed: Path, tmp_path: Path) -> None:
    where = "from zoo.registry import configs_dir; print(configs_dir())"
    found = run(installed, tmp_path, "-c", where)
    assert found.stdout.strip() == str(installed / "zoo" / "configs")
    trained = run(installed, tmp_path, "-m", "zoo.train", "model=crnn", "epochs=1", *TINY_SYNTH)
    assert trained.returncode == 0, trained.stderr
    assert len(list(tmp_path.glob(f"runs/synth-{synth.VERSION}-3s/crnn/*/result.json"))) == 1
    shown = run(installed, tmp_path, "-m", "leaderboard", "show", "runs")
    assert shown.returncode == 0 and "crnn" in shown.stdout, shown.stderr


@pytest.mark.slow
def test_a_new_model_costs_two_files(installed: Path, tmp_path: Path) -> None:
    """The example in CONTRIBUTING.md, as it stands there."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    code, yaml = re.findall(r"```(?:python|yaml)\n(.*?)```", text, re.DOTALL)
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    (site / "zoo" / "backends" / "average.py").write_text(code)
    (site / "zoo" / "configs" / "model" / "average.yaml").write_text(yaml)
    names = run(site, tmp_path, "-c", "import zoo; print(zoo.list_models())")
    assert "'average'" in names.stdout
    trained = run(site, tmp_path, "-m", "zoo.train", "model=average", "epochs=1", *TINY_SYNTH)
    assert trained.returncode == 0, trained.stderr
    other = ["model=average", "frontend=waveform"]
    refused = run(site, tmp_path, "-m", "zoo.train", *other)
    assert refused.returncode == 2
    assert "those that fit: chroma, " in refused.stderr
