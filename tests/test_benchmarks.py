"""The measuring itself; what is measured is never a test."""

from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from benchmarks.speed_data import plainly, write_tracks
from benchmarks.speed_models import WITH_REFERENCE, make_plain
from benchmarks.speed_reading import CHUNK, RATE, Files
from benchmarks.speed_store import IN_SHARD, growth, opening, write_sparse
from benchmarks.timing import Ratio, share, times_as_fast
from conftest import Run
from zoo.audio import decode
from zoo.store import Store


def test_ratio_is_the_median_with_its_spread() -> None:
    assert str(Ratio((1.0, 4.0, 2.0))) == "2 (1 to 4)"
    assert str(Ratio((12.5,), " %")) == "12.5 % (12.5 to 12.5)"


def test_both_sides_do_the_same_number_of_rounds() -> None:
    calls: list[str] = []
    ratio = times_as_fast(lambda: calls.append("ours"), lambda: calls.append("other"), rounds=3)
    assert calls == ["ours", "other"] * 4 and len(ratio.values) == 3
    work = lambda: sum(range(100_000))  # noqa: E731
    assert 0 < share(lambda: None, work).median < 50


def test_the_plain_loop_decodes_what_ours_decodes(tmp_path: Path) -> None:
    (file,) = write_tracks(tmp_path, 1, "flac", 44_100, 2)
    (theirs,) = plainly([str(file)])
    ours = decode(str(file), 16_000)
    assert len(theirs) == len(ours)
    assert np.abs(theirs.astype(int) - ours.astype(int)).max() <= 2


def test_seeking_and_decoding_whole_files_give_the_same_chunks(tmp_path: Path) -> None:
    files = write_tracks(tmp_path, 2, "wav", 22_050, 1)
    seeking, whole = Files(files, 4, whole=False), Files(files, 4, whole=True)
    for item in range(4):
        assert len(seeking[item]) == len(whole[item]) == CHUNK
        both = torch.stack([seeking[item], whole[item]])  # apart by less than a sample
        assert torch.corrcoef(both)[0, 1] > 0.9


def test_the_sparse_store_is_a_store_that_takes_no_room(tmp_path: Path) -> None:
    paths = write_sparse(tmp_path, 2 * IN_SHARD + 1)
    store = Store.open(tmp_path, RATE, paths)
    assert (
        store.paths == paths and not store.gather(np.arange(len(store)), store.lengths - 9, 9).any()
    )
    used = sum(file.stat().st_blocks for file in tmp_path.rglob("*.npy")) * 512
    assert used < 2**20 < store.lengths.sum()
    assert opening(tmp_path, paths, rounds=2).median < 2
    if Path("/proc/self/status").exists():
        assert growth(store, num_batches=20)[0].median < 50  # MB


def test_an_unknown_measure_is_refused(python: Run) -> None:
    done = python("benchmarks.speed", "nope", cwd=Path(__file__).parents[1])
    assert done.returncode == 2 and "'nope' is none of loop, precision" in done.stderr


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_the_plain_implementation_computes_the_same(name: str) -> None:
    torch.manual_seed(0)
    model = zoo.create_model(name)
    x = torch.randn(2, max(32_000, model.min_samples)) / 10
    model(x)  # moves the running statistics
    with torch.no_grad():
        expected = model.eval()(x)
        make_plain(model)
        torch.testing.assert_close(model.eval()(x), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg", "wav"])
def test_tracks_are_written_in_every_format(suffix: str, tmp_path: Path) -> None:
    files = write_tracks(tmp_path, 2, suffix, 16_000, 1)
    assert [len(decode(str(file), 16_000)) // 16_000 for file in files] == [30, 30]
