"""`python -m zoo.prepare dataset=NAME`: from a data set's name to decoded audio.

usage: python -m zoo.prepare [model=NAME] [dataset=NAME] [dataset.path=PATH] [listen=DIR]
"""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.datasets.base import IDENTITY, SPLITS, Manifest
from zoo.datasets.splits import with_shots, with_splits
from zoo.decoding import prepare
from zoo.errors import InputError
from zoo.registry import build
from zoo.store import Store, default_cache


@dataclass(frozen=True)
class Data:
    """The usable tracks: row i of the manifest is track i of the store."""

    manifest: Manifest
    store: Store
    left_out: pd.DataFrame  # path, reason

    def rows(self, split: str) -> np.ndarray:
        """Return the rows of a split."""
        return np.flatnonzero(self.manifest.frame["split"] == split)

    def clip_seconds(self, most: float, min_samples: int) -> float:
        """Return the chunks' length: `most`, or less where all training tracks are shorter."""
        longest = int(self.store.lengths[self.rows("train")].max())
        return max(
            min(most, longest / self.store.sample_rate), min_samples / self.store.sample_rate
        )


def build_manifest(config: Any) -> Manifest:
    """Return the chosen data set as it is."""
    return build(config.dataset, cache_folder(config))


def load_manifest(config: Any) -> Manifest:
    """Return the chosen data set, every track in a split, before any audio is read."""
    common = config.dataset
    manifest = with_splits(build_manifest(config), common.folds, common.fold, common.split_seed)
    if common.shots is None:
        return manifest
    return with_shots(manifest, common.shots, common.split_seed)


def cache_folder(config: Any) -> Path:
    """Return where decoded audio is kept."""
    return Path(config.cache_dir) if config.cache_dir else default_cache()


def decode_tracks(
    manifest: Manifest, config: Any, sample_rate: int, report_to: Path | None = None
) -> Data:
    """Decode what the store does not hold yet, and leave out what cannot be used.

    Writes what was left out, with reasons, to `report_to`/left_out.csv. Raises `InputError` if
    that is more than `dataset.max_bad` of the tracks, or all of a split.
    """
    frame = manifest.frame
    cache = cache_folder(config)
    store, left_out = prepare(frame["path"], sample_rate, cache, **config.prepare)
    if len(left_out):
        _report(left_out, len(frame), report_to)
        _check_share(manifest, left_out, config.dataset.max_bad, report_to)
    kept = manifest.select(~frame["path"].isin(left_out["path"]))
    for split in set(SPLITS) & set(frame["split"]) - set(kept.frame["split"]):
        raise InputError(f"{manifest.where}: no usable track in split {split}.")
    assert len(kept.frame) == len(store)
    return Data(kept, store, left_out)


def _report(left_out: pd.DataFrame, num_tracks: int, folder: Path | None) -> None:
    print(f"{len(left_out)} of {num_tracks} tracks are left out:", file=sys.stderr)
    for path, reason in left_out.head(5).itertuples(index=False):
        print(f"  {path} {reason}", file=sys.stderr)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        left_out.to_csv(folder / "left_out.csv", index=False)
        print(f"  all of them: {folder / 'left_out.csv'}", file=sys.stderr)


def _check_share(
    manifest: Manifest, left_out: pd.DataFrame, most: float, folder: Path | None
) -> None:
    share = len(left_out) / len(manifest.frame)
    if share > most:
        path, reason = left_out.iloc[0]
        raise InputError(
            f"{manifest.where}: {share:.0%} of the files are missing or broken "
            f"(the first: {path} {reason}); mend them, or raise dataset.max_bad."
        )


def summary(data: Data) -> str:
    """Return what is there: tracks and hours by split, tracks by class."""
    seconds = pd.Series(data.store.lengths / data.store.sample_rate)
    frame = data.manifest.frame.assign(hours=seconds.to_numpy() / 3600)
    labels = frame.assign(label=frame["label"].str.split("|")).explode("label")
    by_class = labels.pivot_table(index="label", columns="split", values="track", aggfunc="count")
    by_class = by_class.reindex(columns=[s for s in SPLITS if s in by_class]).fillna(0).astype(int)
    hours = frame.groupby("split")["hours"].sum()
    totals = ", ".join(f"{s} {hours[s]:.2f} h" for s in by_class.columns)
    return (
        f"{data.manifest.name}: {len(frame)} tracks at {data.store.sample_rate} Hz ({totals}); "
        f"split {data.manifest.split_name}\n\n{by_class.to_markdown()}"
    )


def listen(data: Data, folder: Path, num_clips: int) -> None:
    """Copy tracks of each class, from all over the test split, to `folder` as WAV."""
    import soundfile

    test = data.manifest.frame.loc[data.rows("test")]
    for label, rows in test.groupby("label").groups.items():
        for row in list(rows)[:: max(1, len(rows) // num_clips)][:num_clips]:
            name = _file_name(data.manifest.frame.loc[row, "track"])
            file = folder / _file_name(label) / f"{name}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, data.store.track(row), data.store.sample_rate)
    print(f"wrote {num_clips} clips of each class to {folder}")


def _file_name(text: object) -> str:
    """Return the text without what would lead to another folder."""
    return re.sub(r"[/\\:]|^\.+", "_", str(text))


def write_split(manifest: Manifest, folder: Path) -> None:
    """Write which track is in which split."""
    manifest.frame[[c for c in IDENTITY if c != "path"]].to_csv(folder / "split.csv", index=False)


def main(config: Any) -> None:
    """Prepare what training with this configuration would read."""
    frontend = build(config.frontend)
    data = decode_tracks(load_manifest(config), config, frontend.sample_rate)
    print(summary(data))
    if config.listen:
        listen(data, Path(config.listen), config.listen_clips)
    free = shutil.disk_usage(cache_folder(config)).free / 2**30
    print(f"\ndecoded audio is in {cache_folder(config)} ({free:.0f} GiB free)")


if __name__ == "__main__":
    from zoo.config import command

    command("prepare", main, __doc__ or "")
