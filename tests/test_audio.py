"""Decoding: exact where it can be, equal to other decoders elsewhere, a reason where it fails."""

import os
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from zoo.audio import AUDIO_SUFFIXES, AudioError, content_hash, decode, to_int16
from zoo.stream import BLOCK_FRAMES

SUBTYPES = {".opus": ("OGG", "OPUS"), ".ogg": ("OGG", "VORBIS"), ".oga": ("OGG", "VORBIS")}


def tone(seconds: float, rate: int, hz: float = 440.0, level: float = 0.5) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def noise(seconds: float, rate: int, channels: int = 1) -> NDArray[np.float64]:
    size = (round(seconds * rate), channels)
    return np.random.default_rng(0).uniform(-0.5, 0.5, size)


def reason(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        decode(path, 16_000)
    return str(caught.value)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def write_mp3(path: Path, seconds: float, rate: int, mode: str) -> Path:
    half = noise(seconds / 2, rate)
    silence_then_noise = np.concatenate([half * 0, half])
    sf.write(path, silence_then_noise, rate, bitrate_mode=mode, compression_level=0.5)
    return path


def test_int16_mono_wav_comes_back_bit_for_bit(tmp_path):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 200_000).astype(np.int16)
    sf.write(tmp_path / "a.wav", samples, 16_000)
    decoded = decode(tmp_path / "a.wav", 16_000)
    assert decoded.dtype == np.int16
    np.testing.assert_array_equal(decoded, samples)


@pytest.mark.parametrize("channels", [2, 3])
def test_channels_are_averaged(tmp_path, channels):
    x_TC = noise(0.5, 16_000, channels)
    sf.write(tmp_path / "a.wav", x_TC, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(
        decode(tmp_path / "a.wav", 16_000), x_TC.mean(axis=1) * 2**15, atol=0.51
    )


@pytest.mark.parametrize("suffix", sorted(AUDIO_SUFFIXES))
def test_every_suffix_decodes(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    container, subtype = SUBTYPES.get(suffix, (None, None))
    container = {".aif": "AIFF"}.get(suffix, container)
    sf.write(path, tone(2, 48_000), 48_000, format=container, subtype=subtype)
    decoded, expected = decode(path, 16_000), tone(2, 16_000)
    assert abs(len(decoded) - len(expected)) <= 1
    middle = slice(1_600, 30_400)
    assert np.corrcoef(decoded[middle], expected[middle])[0, 1] > 0.999
    assert decoded[middle].std() == pytest.approx(expected[middle].std() * 2**15, rel=0.02)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_resampling_equals_librosa(tmp_path, rate, channels):
    seconds = 3.3  # several blocks
    x_TC = noise(seconds, rate, channels)
    sf.write(tmp_path / "a.wav", x_TC, rate, subtype="FLOAT")
    decoded = decode(tmp_path / "a.wav", 16_000)
    expected = librosa.resample(
        x_TC.mean(axis=1), orig_sr=rate, target_sr=16_000, res_type="soxr_hq"
    )
    assert abs(len(decoded) - len(expected)) <= 1
    num = min(len(decoded), len(expected))
    np.testing.assert_allclose(decoded[:num], expected[:num] * 2**15, atol=2)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_a_tone_survives_and_what_is_above_the_band_does_not(tmp_path, rate):
    inside, above = tone(2, rate, 1_000), tone(2, rate, 15_000) if rate > 30_000 else 0
    sf.write(tmp_path / "a.flac", inside + above, rate)
    decoded, expected = decode(tmp_path / "a.flac", 16_000), tone(2, 16_000, 1_000) * 2**15
    middle = slice(1_600, 30_400)
    assert np.abs(decoded[middle] - expected[middle]).max() < 33  # -60 dB of full scale


def test_to_int16_rounds_and_clips():
    x = np.array([-2.0, -1.0, -0.5 / 2**15, 0.6 / 2**15, 0.999999, 1.0, 7.0], np.float32)
    top = 2**15 - 1
    assert to_int16(x).tolist() == [-(2**15), -(2**15), 0, 1, top, top, top]


def test_content_hash_depends_on_samples_alone(tmp_path):
    samples = to_int16(tone(1, 16_000))
    sf.write(tmp_path / "a.wav", samples, 16_000)
    sf.write(tmp_path / "b.flac", samples, 16_000)
    hashes = [content_hash(decode(tmp_path / name, 16_000)) for name in ("a.wav", "b.flac")]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 32
    samples[7] += 1
    assert content_hash(samples) != hashes[0]


def test_reasons_for_what_is_not_audio(tmp_path):
    (tmp_path / "text.mp3").write_text("this is no music\n" * 100)
    (tmp_path / "noise.wav").write_bytes(np.random.default_rng(0).bytes(5_000))
    (tmp_path / "empty.wav").touch()
    (tmp_path / "a.raw").write_bytes(bytes(100))
    for headerless in ("a.au", "a.vox"):  # libsndfile takes any bytes for telephone speech
        (tmp_path / headerless).write_bytes(bytes(range(256)) * 100)
    (tmp_path / "folder.wav").mkdir()
    assert reason(tmp_path / "text.mp3") == "cannot be decoded: Format not recognised."
    assert reason(tmp_path / "a.au") == "cannot be decoded: Format not recognised."
    assert reason(tmp_path / "a.vox") == "cannot be decoded: Format not recognised."
    assert reason(tmp_path / "noise.wav") == "cannot be decoded: Format not recognised."
    assert reason(tmp_path / "empty.wav") == "is empty"
    assert reason(tmp_path / "a.raw").startswith("cannot be decoded: ")
    assert reason(tmp_path / "folder.wav") == "is a directory"
    assert reason(tmp_path / "nowhere.wav") == "does not exist"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
def test_an_unreadable_file(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, tone(1, 16_000), 16_000)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything
        os.seteuid(65_534)
    try:
        assert reason(path) == "may not be read"
    finally:
        os.seteuid(user)


def test_reasons_for_unusable_audio(tmp_path):
    rate = 44_100
    broken = tone(2, rate).astype(np.float32)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        broken[-5] = value
        sf.write(tmp_path / f"{name}.wav", broken, rate, subtype="FLOAT")
        assert reason(tmp_path / f"{name}.wav") == "has NaN or infinite samples"
    sf.write(tmp_path / "silent.wav", tone(1, rate, level=0.9e-4), rate, subtype="FLOAT")
    assert reason(tmp_path / "silent.wav") == "is silent (peak below -80 dB of full scale)"
    sf.write(tmp_path / "quiet.wav", tone(1, rate, level=1.3e-4), rate, subtype="FLOAT")
    assert len(decode(tmp_path / "quiet.wav", 16_000)) == 16_000
    for seconds in (0, 0.05):
        sf.write(tmp_path / "short.wav", tone(seconds, rate), rate)
        assert reason(tmp_path / "short.wav") == "is shorter than 0.1 s"
    sf.write(tmp_path / "enough.wav", tone(0.1, rate), rate)
    assert len(decode(tmp_path / "enough.wav", 16_000)) == 1_600


@pytest.mark.parametrize("share", [0.95, 0.5, 0.1])
def test_a_flac_that_was_cut(tmp_path, share):
    path = tmp_path / "a.flac"
    sf.write(path, noise(4, 22_050, 2), 22_050)
    assert reason(cut(path, share)) == "is cut short or damaged: flac decoder lost sync."


@pytest.mark.parametrize("suffix", [".wav", ".au", ".aiff"])
def test_pcm_that_was_cut(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    sf.write(path, noise(4, 22_050, 2), 22_050)
    assert reason(cut(path, 0.5)) == "is cut short: 2.00 s of 4.00 s"


def test_wav_written_to_a_pipe_announces_no_length(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, tone(1, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4  # sizes of the RIFF and data chunks
    path.write_bytes(data)
    assert len(decode(path, 16_000)) == 16_000


def test_flac_written_to_a_pipe_announces_no_length(tmp_path):
    path = tmp_path / "a.flac"
    sf.write(path, tone(1, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO: 36 bits of total samples, 0 for unknown
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert len(decode(path, 16_000)) == 16_000


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_that_was_cut(tmp_path, mode):
    path = write_mp3(tmp_path / "a.mp3", 6, 44_100, mode)
    assert abs(len(decode(path, 16_000)) - 6 * 16_000) <= 1
    id3 = b"ID3\x04\x00\x00" + bytes([0, 0, 78, 32]) + bytes(78 * 128 + 32)
    path.write_bytes(id3 + path.read_bytes())
    assert abs(len(decode(path, 16_000)) - 6 * 16_000) <= 1
    assert reason(cut(path, 0.7)).startswith("is cut short: ")


def test_mp3_without_an_announced_length_is_not_cut(tmp_path):
    """libsndfile takes the first frame's bit rate for all: here it guesses far too much."""
    path = write_mp3(tmp_path / "a.mp3", 6, 44_100, "VARIABLE")
    data = path.read_bytes()
    second_frame = data.index(data[:2], data.index(b"Xing"))
    path.write_bytes(data[second_frame:])
    assert sf.info(path).duration > 8
    assert len(decode(path, 16_000)) / 16_000 == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("rate", [22_050, 44_100])
@pytest.mark.parametrize("missing", [0, 150])
def test_mp3_of_constant_bit_rate_needs_no_announced_length(tmp_path, rate, missing):
    """Here libsndfile's guess is right, also for one that ends within a frame."""
    path = write_mp3(tmp_path / "a.mp3", 6, rate, "CONSTANT")
    data = path.read_bytes()
    second_frame = data.index(data[:2], data.index(b"Info"))
    path.write_bytes(data[second_frame : len(data) - missing])
    whole, _ = sf.read(path, dtype="float32")
    np.testing.assert_array_equal(decode(path, rate), to_int16(whole))


@pytest.mark.parametrize("suffix", [".mp3", ".ogg", ".flac"])
@pytest.mark.parametrize("rate", [22_050, 44_100])
def test_reading_in_blocks_changes_nothing(tmp_path, suffix, rate):
    path = tmp_path / f"a{suffix}"
    sf.write(path, noise(8, rate)[:, 0] * 0.05 + tone(8, rate), rate)
    whole, _ = sf.read(path, dtype="float32")
    assert len(whole) > 2 * BLOCK_FRAMES
    np.testing.assert_allclose(decode(path, rate), to_int16(whole), atol=1)
