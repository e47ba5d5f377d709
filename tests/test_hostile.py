"""Broken and hostile audio: each file decoded rightly or named with a reason, within limits."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import zoo.workers
from hostile import RATE, Case, Refused, Tone, corpus, fuzz
from hostile.files import encoded, tone
from zoo.audio import MAX_SECONDS
from zoo.decode_worker import MEMORY_LIMIT
from zoo.index import identity
from zoo.store import Store
from zoo.workers import decode_all

if sys.platform != "linux":
    pytest.skip("needs file names, devices and measures of Linux", allow_module_level=True)
ROOT = Path(__file__).parents[1]
NUM_GOOD = 70
NUM_DAMAGED = 500


@dataclass
class Prepared:
    """What became of the corpus."""

    expected: dict[str, Case]  # by path
    results: dict[str, NDArray[np.int16] | str]
    seconds: float
    peak: dict[str, int]  # bytes


def good(folder: Path) -> Iterator[tuple[Path, Case]]:
    """Write files without fault, of all kinds, and one of 20 minutes."""
    kinds = ("WAV", "FLAC", "OGG", "MP3", "AU", "AIFF")
    for number in range(NUM_GOOD):
        kind, hz = kinds[number % len(kinds)], 300.0 + 10 * number
        data = encoded(tone(44_100, 1.5, hz), 44_100, kind)
        case = Case(f"good-{number}", f".{kind.lower()}", data, Tone(1.5, hz, purity=0.99))
        yield case.write(folder), case
    data = encoded(tone(8_000, 1_200), 8_000, "WAV")
    case = Case("good-and-long", ".wav", data, Tone(1_200))
    yield case.write(folder), case


def is_utf8(path: str) -> bool:
    return os.fsencode(path).decode("utf-8", "ignore") == path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("hostile")
    bad = [(case.write(folder), case) for case in corpus()]
    beside = list(good(folder))
    step = len(bad) // len(beside)
    for place, file in enumerate(beside):  # good ones among the bad
        bad.insert(place * (step + 1), file)
    expected = {str(path): case for path, case in bad}
    assert len(expected) == len({case.slug for case in expected.values()})
    files, result = folder / "files.json", folder / "result.json"
    files.write_text(json.dumps(list(filter(is_utf8, expected))))
    command = [sys.executable, "tests/hostile/run.py", *map(str, (files, folder / "cache", result))]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    summary = json.loads(result.read_text())
    store = Store.open(folder / "cache", RATE, summary["stored"])
    results = dict(zip(store.paths, map(store.track, range(len(store))), strict=True))
    others = [(path, *identity(path)) for path in expected if not is_utf8(path)]  # not for a store
    directly = {
        key[0]: result if isinstance(result, str) else result.samples
        for key, result in decode_all(others, RATE, 1)
    }
    results |= summary["refused"] | directly
    return Prepared(expected, results, summary["seconds"], summary["peak"])


def test_each_is_decoded_rightly_or_named_with_a_reason(prepared: Prepared) -> None:
    assert prepared.results.keys() == prepared.expected.keys()
    complaints = {
        case.slug: complaint
        for path, case in prepared.expected.items()
        if (complaint := case.expected.complaint(prepared.results[path]))
    }
    assert not complaints


def test_the_corpus_is_large(prepared: Prepared) -> None:
    slugs = [case.slug for case in prepared.expected.values() if not case.slug.startswith("good-")]
    num_refused = sum(isinstance(case.expected, Refused) for case in prepared.expected.values())
    num_decoded = len(slugs) - num_refused
    peak = ", ".join(f"{kind} {value / 1e6:.0f} MB" for kind, value in prepared.peak.items())
    print(f"\n{len(slugs)} fault classes: {num_decoded} decode, {num_refused} are refused")
    print(f"{prepared.seconds:.1f} s; peak memory: {peak}")
    assert len(slugs) >= 200 and min(num_decoded, num_refused) > 50


def test_the_good_ones_are_all_there(prepared: Prepared) -> None:
    good = [path for path, case in prepared.expected.items() if case.slug.startswith("good-")]
    assert len(good) == NUM_GOOD + 1
    assert not [path for path in good if isinstance(prepared.results[path], str)]


def test_memory_and_time_are_bounded(prepared: Prepared) -> None:
    assert prepared.peak["parent"] < 600e6
    assert prepared.peak["worker"] < MEMORY_LIMIT
    assert prepared.seconds < 240


@pytest.mark.parametrize("seed", [0, 1])
def test_random_damage_gives_samples_or_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(zoo.workers, "time_limit", lambda num_bytes: 20.0)
    paths = list(map(str, fuzz.write(tmp_path, NUM_DAMAGED, seed)))
    results = [result for _, result in decode_all([(p, *identity(p)) for p in paths], RATE, 2)]
    reasons = [result for result in results if isinstance(result, str)]
    samples = [result.samples for result in results if not isinstance(result, str)]
    print("\n", len(samples), "decoded;", Counter(reason[:24] for reason in reasons))
    assert len(results) == NUM_DAMAGED and min(len(reasons), len(samples)) > 50
    assert all(reasons) and all(len(s) <= MAX_SECONDS * RATE for s in samples)
