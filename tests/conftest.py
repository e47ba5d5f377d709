"""What tests share: the outside data where it is at hand, and a cache of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from playwright.sync_api import Browser, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FAKE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a microphone
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
QUIET += ["--disable-quic"]
SHARED = Path(__file__).parents[2] / "shared"
TINY_SYNTH = ("dataset.artists=8", "dataset.tracks=1", "dataset.seconds=3")  # 64 tracks
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for the whole session, also for the processes that tests start."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["GENRE_ZOO_CACHE"] = str(folder)
    return folder


@pytest.fixture(autouse=True)
def seed() -> None:
    """Draw the same random weights in each run of a test."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real audio and published weights beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the published weights and real audio of {SHARED}, which is absent")
    return SHARED


@pytest.fixture(scope="session")
def python() -> Run:
    """Run `python -m ...` as a user does, in a folder of the test's."""

    def run(*arguments: str, cwd: Path, timeout: int = 600) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)

    return run


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "-m", "zoo.train", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def write_music(folder: Path, labels: list[str], per_label: int = 8, seconds: float = 1.0) -> None:
    """Sines for one label, noise for the next: each label its own pitch."""
    random = np.random.RandomState(0)
    t = np.arange(int(16_000 * seconds)) / 16_000
    for i, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for number in range(per_label):
            x = 0.3 * np.sin(2 * np.pi * 300 * (i + 1) * t) + 0.05 * random.uniform(-1, 1, len(t))
            soundfile.write(folder / label / f"{number}.wav", x, 16_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; without one these tests are skipped, but not in CI."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"needs a browser, one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--no-first-run", *QUIET, *FAKE]
        browser = playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()
