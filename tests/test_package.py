"""The wheel: complete, and runnable from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY_SYNTH

import zoo
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
    assert not (installed / "tests").exists()


def test_wheel_trains_from_any_folder(installed: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )

    found = python("-c", "from zoo.registry import configs_dir; print(configs_dir())")
    assert found.stdout.strip() == str(installed / "zoo" / "configs")
    trained = python("-m", "zoo.train", "model=crnn", "epochs=1", *TINY_SYNTH)
    assert trained.returncode == 0, trained.stderr
    assert len(list(tmp_path.glob("runs/synth-1/crnn/*/result.json"))) == 1
    shown = python("-m", "leaderboard", "show", "runs")
    assert shown.returncode == 0 and "crnn" in shown.stdout, shown.stderr
