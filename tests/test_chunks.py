"""Which pieces of which tracks, and that they follow from seed, epoch and step."""

import numpy as np
import pytest

from zoo.chunks import TrainingChunks, complete_chunks, published_chunks

LENGTHS = np.array([30, 100, 101, 5, 250])


def test_training_chunks_are_functions_of_seed_epoch_and_step() -> None:
    chunks = TrainingChunks(LENGTHS, 30, 2, seed=3)
    again = TrainingChunks(LENGTHS, 30, 2, seed=3)
    for epoch, step in ((0, 0), (4, 2), (1, 1)):
        for one, other in zip(chunks.batch(epoch, step), again.batch(epoch, step), strict=True):
            assert np.array_equal(one, other)
    other_seed = TrainingChunks(LENGTHS, 30, 2, seed=4)
    draws = [
        np.concatenate(c.batch(e, s)) for c in (chunks, other_seed) for e in (0, 1) for s in (0, 1)
    ]
    assert len({tuple(draw) for draw in draws}) > 4


def test_an_epoch_takes_each_track_and_stays_inside_it() -> None:
    chunks = TrainingChunks(LENGTHS, 30, 2, seed=0)
    assert chunks.steps_per_epoch == 3
    for epoch in range(50):
        batches = [chunks.batch(epoch, step) for step in range(3)]
        tracks = np.concatenate([t for t, _ in batches])
        starts = np.concatenate([s for _, s in batches])
        assert set(tracks[:5]) == set(range(5)) and len(tracks) == 6
        fits = LENGTHS[tracks] >= 30
        assert (starts[fits] + 30 <= LENGTHS[tracks][fits]).all() and (starts >= 0).all()
        assert (starts[~fits] < LENGTHS[tracks][~fits]).all()


def test_random_chunks_reach_both_ends() -> None:
    chunks = TrainingChunks(np.full(64, 33), 30, 64, seed=0)
    starts = np.concatenate([chunks.batch(epoch, 0)[1] for epoch in range(10)])
    assert set(starts) == {0, 1, 2, 3}


def test_more_tracks_in_a_batch_than_there_are() -> None:
    tracks, _ = TrainingChunks(LENGTHS, 30, 16, seed=0).batch(0, 0)
    assert len(tracks) == 16 and set(tracks) == set(range(5))


@pytest.mark.parametrize("length", [5, 30, 99, 100, 101, 300])
def test_complete_chunks_cover_every_sample(length: int) -> None:
    tracks, starts = complete_chunks(LENGTHS, length)
    for track, samples in enumerate(LENGTHS):
        mine = starts[tracks == track]
        assert len(mine) == max(1, -(-samples // length))
        if samples <= length:
            assert mine.tolist() == [0]
            continue
        covered = np.zeros(samples, bool)
        for start in mine:
            assert start + length <= samples
            covered[start : start + length] = True
        assert covered.all()
        assert np.ptp(np.diff(mine)) <= 1 if len(mine) > 2 else True  # evenly spaced


def test_no_tracks_give_no_chunks() -> None:
    for chunks in (complete_chunks, published_chunks):
        assert [len(part) for part in chunks(LENGTHS[:0], 30)] == [0, 0]


def test_published_chunks_are_sixteen_from_the_start_on() -> None:
    tracks, starts = published_chunks(LENGTHS, 30)
    assert np.bincount(tracks).tolist() == [1, 16, 16, 1, 16]
    for track, samples in enumerate(LENGTHS):
        hop = max(0, samples - 30) // 16
        expected = [hop * number for number in range(16 if samples > 30 else 1)]
        assert starts[tracks == track].tolist() == expected
