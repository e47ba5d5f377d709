"""`folder`: one's own music, one folder per class (or train/validation/test above them)."""

from pathlib import Path

import pandas as pd

from zoo.audio import AUDIO_SUFFIXES
from zoo.datasets.base import SPLIT_ALIASES, SPLITS, Manifest
from zoo.errors import InputError


def load(cache: Path, *, path: Path | None = None) -> Manifest:
    """Read the tracks below `path`: DIR/class/.../file, or DIR/split/class/.../file.

    Raises `InputError` for a folder that is missing, empty, or has one class only.
    """
    if path is None:
        raise InputError("dataset.path is not set: dataset=folder needs dataset.path=DIR.")
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"dataset.path={root} is not a folder; give one with a folder per class.")
    files = sorted(f for f in root.rglob("*") if _is_audio(f, root))
    if not files:
        kinds = " ".join(sorted(AUDIO_SUFFIXES))
        raise InputError(f"dataset.path={root} has no audio file in it (looked for {kinds}).")
    parts = [f.relative_to(root).parts for f in files]
    tops = {p[0].lower() for p in parts if len(p) > 1}
    depth = 1 if tops and tops <= {*SPLITS, *SPLIT_ALIASES} else 0
    loose = [f for f, p in zip(files, parts, strict=True) if len(p) < depth + 2]
    if loose:
        raise InputError(f"{loose[0]} lies in no class: put each track below {root}/CLASS/.")
    frame = pd.DataFrame(
        {
            "track": [f.relative_to(root).as_posix() for f in files],
            "path": [str(f.absolute()) for f in files],
            "label": [p[depth] for p in parts],
            "split": [p[0].lower() if depth else "" for p in parts],
        }
    )
    return Manifest(root.absolute().name, frame, source=str(root))


def _is_audio(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in AUDIO_SUFFIXES and not hidden and not path.is_dir()
