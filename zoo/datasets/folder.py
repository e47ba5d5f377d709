"""`folder`: one's own music, one folder per class (or train/validation/test above them)."""

import os
from pathlib import Path

import pandas as pd

from zoo.audio import AUDIO_SUFFIXES
from zoo.datasets.base import SPLIT_ALIASES, SPLITS, Manifest
from zoo.errors import InputError


def load(cache: Path, *, path: Path | None = None) -> Manifest:
    """Read the tracks below `path`: DIR/class/.../file, or DIR/split/class/.../file.

    Hidden files and folders are passed over, links to folders are followed. Raises `InputError`
    for a folder that is missing, cannot be read or is empty, and for tracks in no class.
    """
    if path is None:
        raise InputError("dataset.path is not set: dataset=folder needs dataset.path=DIR.")
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"dataset.path={root} is not a folder; give one with a folder per class.")
    files = audio_files(root)
    if not files:
        kinds = " ".join(sorted(AUDIO_SUFFIXES))
        raise InputError(f"dataset.path={root} has no audio file in it (looked for {kinds}).")
    parts = [file.relative_to(root).parts for file in files]
    depth = 1 if _has_splits(root, {p[0] for p in parts if len(p) > 1}) else 0
    for file, part in zip(files, parts, strict=True):
        if len(part) < depth + 2:
            place = root / ("SPLIT/CLASS" if depth else "CLASS")
            raise InputError(f"{file} lies in no class: put each track below {place}/.")
    frame = pd.DataFrame(
        {
            "track": ["/".join(p) for p in parts],
            "path": [str(file.absolute()) for file in files],
            "label": [p[depth] for p in parts],
            "split": [p[0] if depth else "" for p in parts],
        }
    )
    name = Path(os.path.normpath(root.absolute())).name
    return Manifest(name, frame, source=str(root))


def audio_files(root: Path) -> list[Path]:
    """Return the audio files below a folder, sorted; not hidden ones, and links are followed."""
    found, seen = [], set()
    for folder, subfolders, names in os.walk(root, onerror=_refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # links in a circle, or two to one place
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    files = sorted(file for file in found if file.suffix.lower() in AUDIO_SUFFIXES)
    for file in files:
        if os.fsencode(file).decode(errors="ignore") != str(file):
            raise InputError(f"{str(file)!r} has a name that is not UTF-8: rename it.")
    return files


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _has_splits(root: Path, tops: set[str]) -> bool:
    """Tell whether the folders below the root are splits, not classes."""
    others = {top for top in tops if top.lower() not in (*SPLITS, *SPLIT_ALIASES)}
    if others and {"train", "test"} <= {top.lower() for top in tops}:
        raise InputError(f"{root / min(others)} lies beside train and test and is no split itself.")
    return bool(tops) and not others
