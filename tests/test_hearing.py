"""What is heard of files: chunks in their places, batches across tracks, long files, bad ones."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from trained import GENRES, RATE, sound
from zoo import create_model
from zoo.audio import decode
from zoo.errors import InputError
from zoo.inference import Failed, Heard, find_files, hear, hear_at
from zoo.listening import LISTEN, every_second, listening
from zoo.model import GenreModel
from zoo.runners import About
from zoo.runners_torch import ModelRunner

CLIP = RATE // 2

LONG = """
import sys
import numpy as np
from zoo import create_model
from zoo.inference import hear
from zoo.runners_torch import ModelRunner
from zoo.runtime import peak_memory
import torch
overrides = ["clip_seconds=5"]
runner = ModelRunner(create_model("linear", num_classes=3, overrides=overrides), "fp32")
list(hear(runner, [sys.argv[1]], workers=1))
before = peak_memory(torch.device("cpu"))
(heard,) = hear(runner, [sys.argv[2]], workers=1)
print(heard.seconds, len(heard.starts), (peak_memory(torch.device("cpu")) - before) / 2**20)
"""


@pytest.fixture(scope="module")
def model() -> GenreModel:
    torch.manual_seed(0)
    return create_model("linear", num_classes=3, overrides=["clip_seconds=0.5"]).eval()


@pytest.fixture(scope="module")
def runner(model: GenreModel) -> ModelRunner:
    return ModelRunner(model, "fp32")


def write(folder: Path, name: str, seconds: float, rate: int = RATE) -> str:
    soundfile.write(folder / name, sound(GENRES[len(name) % 3], seconds, len(name), rate), rate)
    return str(folder / name)


def by_hand(model: GenreModel, file: str, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and embeddings of the chunks, one at a time."""
    samples = decode(file, RATE)
    prob, embedding = [], []
    for start in starts:
        chunk = np.take(samples, np.arange(start, start + CLIP), mode="wrap")
        with torch.no_grad():
            x_1D = model.embed(torch.from_numpy(chunk[None] / np.float32(32768)))
            prob.append(model.probabilities(model.classify(x_1D))[0].numpy())
        embedding.append(x_1D[0].numpy())
    return np.stack(prob), np.stack(embedding)


def test_what_is_heard_is_what_the_model_says_chunk_by_chunk(tmp_path, model, runner):
    lengths = {"a.wav": 0.5, "bb.wav": 0.2, "ccc.flac": 7.3, "dddd.ogg": 1.01, "eeeee.wav": 20.0}
    files = [write(tmp_path, name, seconds) for name, seconds in lengths.items()]
    files.append(write(tmp_path, "stereo-rate.wav", 1.4, rate=44_100))
    heard = list(hear(runner, files))
    assert [track.path for track in heard] == files
    for track in heard:
        assert isinstance(track, Heard)
        num_samples = len(decode(track.path, RATE))
        assert len(track.starts) == max(1, -(-num_samples // CLIP))
        prob_NK, embedding_ND = by_hand(model, track.path, track.starts)
        np.testing.assert_allclose(track.chunk_prob_NK, prob_NK, atol=1e-5)
        np.testing.assert_allclose(track.prob_K, prob_NK.mean(0), atol=1e-5)
        np.testing.assert_allclose(track.embedding_D, embedding_ND.mean(0), rtol=1e-4, atol=1e-3)
        assert track.seconds == num_samples / RATE


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_batches_do_not_matter(tmp_path, runner, monkeypatch, batch):
    files = [write(tmp_path, f"{'x' * i}.wav", 0.3 * i) for i in range(1, 6)]
    expected = list(hear(runner, files))
    monkeypatch.setattr(runner, "batch_size", batch)
    monkeypatch.setattr(runner, "streams", 1 + batch % 2)
    for ours, theirs in zip(hear(runner, files, workers=1), expected, strict=True):
        assert isinstance(ours, Heard) and isinstance(theirs, Heard)
        np.testing.assert_allclose(ours.prob_K, theirs.prob_K, atol=1e-6)


def test_bad_files_are_named_in_their_places(tmp_path, runner):
    good = write(tmp_path, "good.wav", 1.0)
    text = tmp_path / "text.mp3"
    text.write_text("no music")
    results = list(hear(runner, [str(text), good, str(tmp_path / "gone.wav"), good]))
    assert [type(result) for result in results] == [Failed, Heard, Failed, Heard]
    assert results[0] == Failed(str(text), "cannot be decoded: Format not recognised.")
    assert results[2].reason == "does not exist"


@pytest.mark.parametrize("listen", LISTEN)
@pytest.mark.parametrize("seconds", [0.2, 9.0, 10.0, 31.0, 300.0, 36_000.0])
def test_chunks_lie_in_the_track_and_cover_what_is_listened_to(listen, seconds):
    clip, length = 3 * RATE, round(seconds * RATE)
    starts = listening(listen, RATE, clip)(length)
    assert (np.diff(starts) > 0).all() and starts[0] >= 0
    assert starts[-1] + clip <= length or (length < clip and len(starts) == 1)
    heard = np.unique((starts[:, None] + np.arange(0, clip, RATE // 10)).ravel()).size / 10
    wanted = {"all": seconds, "30s-middle": min(30, seconds), "3x10s": min(30, seconds)}[listen]
    assert heard >= wanted - 0.5
    assert heard <= wanted + (3 if listen == "3x10s" else 1) * 3


def test_thirty_seconds_are_those_in_the_middle():
    starts = listening("30s-middle", RATE, 3 * RATE)(100 * RATE)
    assert starts.tolist() == [(35 + 3 * i) * RATE for i in range(10)]
    starts = listening("3x10s", RATE, 10 * RATE)(120 * RATE)
    assert starts.tolist() == [15 * RATE, 55 * RATE, 95 * RATE]
    wider = listening("3x10s", RATE, 40 * RATE)(120 * RATE)  # spans no shorter than a chunk
    assert wider.tolist() == [0, 40 * RATE, 80 * RATE]


def test_a_window_around_every_second():
    starts = every_second(RATE, 3 * RATE)(round(10.4 * RATE))
    assert len(starts) == 10
    assert starts[5] == 4 * RATE and starts[0] == 0 and starts[-1] == round(7.4 * RATE)
    assert every_second(RATE, 3 * RATE)(RATE // 5).tolist() == [0]


def test_windows_hear_where_the_music_changes(tmp_path, runner):
    x = np.concatenate([sound("bass", 4, 0), sound("hiss", 4, 1)])
    soundfile.write(tmp_path / "two.wav", x, RATE)
    (heard,) = hear_at(runner, [str(tmp_path / "two.wav")], every_second(RATE, CLIP))
    assert isinstance(heard, Heard) and heard.chunk_prob_NK.shape == (8, 3)
    same = np.abs(np.diff(heard.chunk_prob_NK, axis=0)).max(1)
    assert same.argmax() == 3


def test_a_long_file_takes_no_more_memory(tmp_path):
    short, long = tmp_path / "short.flac", tmp_path / "long.flac"
    x = sound("tone", 60, 0)
    soundfile.write(short, x, RATE)
    with soundfile.SoundFile(long, "w", RATE, 1) as file:
        for _ in range(120):
            file.write(x)
    command = [sys.executable, "-c", LONG, str(short), str(long)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, chunks, grown = map(float, done.stdout.split())
    assert (seconds, chunks) == (7200, 1440)
    in_ram = 7200 * RATE * 2 / 2**20  # MiB of the decoded samples: 220
    print(f"\n2 h: {grown:.0f} MiB more than 1 min; decoded, it is {in_ram:.0f} MiB")
    assert grown < in_ram / 2


def test_files_are_found_once(tmp_path):
    a, b = write(tmp_path, "a.wav", 0.2), write(tmp_path, "b.flac", 0.2)
    (tmp_path / "notes.txt").touch()
    assert find_files([b, str(tmp_path), a]) == [b, a]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty has no audio file in it"):
        find_files([str(tmp_path / "empty")])
    with pytest.raises(InputError, match=r"gone\.wav does not exist"):
        find_files([a, str(tmp_path / "gone.wav")])


def test_what_is_said_of_a_model_is_read_again(runner):
    assert About.loads(runner.about.dumps()) == runner.about
