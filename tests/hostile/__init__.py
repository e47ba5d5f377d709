"""Audio files that are broken, lie or are merely odd, each a fault class of its own, and what must
become of each: samples that are known otherwise, or a refusal whose reason is known."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # Hz, of what is decoded


@dataclass(frozen=True)
class Tone:
    """A sine and nothing else, as the mean of the channels."""

    seconds: float = 2.0
    hz: float = 440.0
    level: float = 0.5
    slack: float = 0.001  # seconds
    purity: float = 0.999  # share of the energy within 5 % of the frequency

    def complaint(self, result: NDArray[np.int16] | str) -> str:
        """Return what is wrong with the result, empty if nothing is."""
        if isinstance(result, str):
            return f"refused: {result}"
        seconds, x_T = len(result) / RATE, result / 2**15
        power_F = np.abs(np.fft.rfft(x_T * np.hanning(len(x_T)))) ** 2
        hz_F = np.fft.rfftfreq(len(x_T), 1 / RATE)
        width = max(0.05 * self.hz, 4 / seconds)
        purity = power_F[np.abs(hz_F - self.hz) <= width].sum() / power_F.sum()
        level = np.sqrt(2) * x_T.std()
        is_right = (
            abs(seconds - self.seconds) <= self.slack
            and purity >= self.purity
            and abs(level / self.level - 1) < 0.06 + (1 - self.purity)
        )
        peak = hz_F[power_F.argmax()]
        found = f"{seconds:.4f} s, {peak:.1f} Hz, level {level:.3f}, purity {purity:.5f}"
        return "" if is_right else f"decoded to {found} instead of {self}"


@dataclass(frozen=True)
class Exactly:
    """These int16 samples, at most `off` apart."""

    samples: NDArray[np.int16]
    off: int = 0

    def complaint(self, result: NDArray[np.int16] | str) -> str:
        """Return what is wrong with the result, empty if nothing is."""
        if isinstance(result, str):
            return f"refused: {result}"
        if len(result) != len(self.samples):
            return f"{len(result)} samples instead of {len(self.samples)}"
        off = np.abs(result.astype(int) - self.samples).max()
        return "" if off <= self.off else f"samples are up to {off} apart"


@dataclass(frozen=True)
class Refused:
    """No samples but a reason, which the regular expression finds from its start."""

    reason: str

    def complaint(self, result: NDArray[np.int16] | str) -> str:
        """Return what is wrong with the result, empty if nothing is."""
        if not isinstance(result, str):
            return f"decoded to {len(result) / RATE:.3f} s instead of being refused"
        return "" if re.match(self.reason, result) else f"refused otherwise: {result}"


@dataclass(frozen=True)
class Case:
    """One file: its fault class, what it holds or what makes it (`None`: nothing does), and what
    must become of it."""

    slug: str
    suffix: str
    content: bytes | Callable[[Path], None] | None
    expected: Tone | Exactly | Refused
    name: str = ""  # in place of the slug and the suffix

    def write(self, folder: Path) -> Path:
        """Make the file below `folder`."""
        path = folder / (self.name or self.slug + self.suffix)
        if self.content is None:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content)
        return path


def corpus() -> Iterator[Case]:
    """Yield every case."""
    from hostile import bombs, content, cuts, flips, formats, lies, others, places, streams

    for module in (cuts, flips, lies, formats, content, others, streams, bombs, places):
        yield from module.cases()
