"""`python -m zoo.prepare dataset=NAME`: from a data set's name to decoded audio.

usage: python -m zoo.prepare [model=NAME] [dataset=NAME] [dataset.path=PATH]
                             [dataset.download=true] [listen=DIR]
"""

import inspect
import os
import re
import shutil
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.datasets.base import IDENTITY, SPLITS, Manifest
from zoo.datasets.card import Card, MissingError
from zoo.datasets.resplit import resplit
from zoo.datasets.splits import with_splits
from zoo.datasets.subsets import with_share, with_shots, without
from zoo.decoding import prepare
from zoo.errors import InputError
from zoo.registry import build, locate, parameters
from zoo.store import Store, default_cache

NUM_NAMED = 5  # of the files that are missing or left out


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


def card_of(config: Any) -> Card | None:
    """Return the card of the chosen data set; one's own music has none.

    A module has `CARD`, or `card`, a function of the arguments that say what is to be fetched.
    """
    module: Any = inspect.getmodule(locate(config.dataset._target_))
    if hasattr(module, "card"):
        return module.card(**config.dataset)
    return getattr(module, "CARD", None)


def build_manifest(config: Any) -> Manifest:
    """Return the chosen data set as it is; with `dataset.download`, what is missing is fetched."""
    card = card_of(config)
    fetches_itself = "download" in parameters(config.dataset._target_)
    if card is not None and config.dataset.download and not fetches_itself:
        return _fetched(config, card)
    return build(config.dataset, cache_folder(config))


def _fetched(config: Any, card: Card) -> Manifest:
    try:
        manifest = build(config.dataset, cache_folder(config))
    except MissingError as error:
        if not card.archives:
            raise InputError(card.refusal) from error
    else:
        if not is_missing(manifest).any():
            return manifest
        if not card.archives:
            print(card.refusal, file=sys.stderr)
            return manifest
    from zoo.datasets.download import fetch  # requests takes a while to import

    fetch(card, Path(config.dataset.path))
    return build(config.dataset, cache_folder(config))


def is_missing(manifest: Manifest) -> pd.Series:
    """Tell of each track whether its file is not there."""
    return ~manifest.frame["path"].map(os.path.exists).astype(bool)


def presence(manifest: Manifest, card: Card | None) -> str:
    """Return how many files are missing in each split, the first of them, and where to get them."""
    missing = manifest.frame[is_missing(manifest)]
    num_files = len(manifest.frame)
    if missing.empty:
        return f"all {num_files} files are there"
    counts = missing["split"].value_counts()
    by_split = ", ".join(f"{split} {counts[split]}" for split in SPLITS if split in counts)
    lines = [f"{len(missing)} of {num_files} files are missing ({by_split}):"]
    lines += missing["path"].head(NUM_NAMED).tolist()
    return "\n  ".join([*lines, card.where] if card else lines)


def load_manifest(config: Any) -> Manifest:
    """Return the chosen data set, every track in a split: its own, or what `split` asks for; of it
    what `dataset.held_out`, `share` and `shots` leave."""
    common, manifest = config.dataset, build_manifest(config)
    how = (common.folds, common.fold, common.split_seed)
    if config.split is None:
        manifest = with_splits(manifest, *how)
    else:
        cache = cache_folder(config)
        manifest = resplit(manifest, config.split, *how, planted=common.planted, cache=cache)
    if held_out := common.get("held_out"):  # not in the configuration of an older run
        manifest = without(manifest, held_out)
    if share := common.get("share"):
        manifest = with_share(manifest, share, common.split_seed)
    if common.shots is not None:
        manifest = with_shots(manifest, common.shots, common.split_seed)
    return manifest


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
        _check_share(manifest, left_out, config.dataset.max_bad, card_of(config))
    kept = manifest.select(~frame["path"].isin(left_out["path"]))
    for split in set(SPLITS) & set(frame["split"]) - set(kept.frame["split"]):
        raise InputError(f"{manifest.where}: no usable track in split {split}.")
    assert len(kept.frame) == len(store)
    return Data(kept, store, left_out)


def _report(left_out: pd.DataFrame, num_tracks: int, folder: Path | None) -> None:
    print(f"{len(left_out)} of {num_tracks} tracks are left out:", file=sys.stderr)
    for reason, paths in islice(left_out.groupby("reason", sort=False)["path"], NUM_NAMED):
        more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
        print(f"  {paths.iloc[0]} {reason}{more}", file=sys.stderr)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        left_out.to_csv(folder / "left_out.csv", index=False)
        print(f"  all of them: {folder / 'left_out.csv'}", file=sys.stderr)


def _check_share(
    manifest: Manifest, left_out: pd.DataFrame, most: float, card: Card | None
) -> None:
    share = len(left_out) / len(manifest.frame)
    if share > most:
        path, reason = left_out.iloc[0]
        raise InputError(
            f"{manifest.where}: {share:.0%} of the files are missing or broken "
            f"(the first: {path} {reason}); mend them, or raise dataset.max_bad"
            + (f"; {card.where}" if card else ".")
        )


def summary(data: Data) -> str:
    """Return what is there: tracks and hours by split, tracks by class."""
    seconds = pd.Series(data.store.lengths / data.store.sample_rate)
    frame = data.manifest.frame.assign(hours=seconds.to_numpy() / 3600)
    labels = frame.assign(label=frame["label"].replace("", "no label").str.split("|"))
    labels = labels.explode("label")
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
    sample_rate, card = build(config.frontend).sample_rate, card_of(config)
    if card is not None:
        print(card.about, end="\n\n", flush=True)
    manifest = load_manifest(config)
    print(presence(manifest, card), flush=True)
    data = decode_tracks(manifest, config, sample_rate)
    print(f"\n{summary(data)}")
    if config.listen:
        listen(data, Path(config.listen), config.listen_clips)
    free = shutil.disk_usage(cache_folder(config)).free / 2**30
    print(f"\ndecoded audio is in {cache_folder(config)} ({free:.0f} GiB free)")


if __name__ == "__main__":
    from zoo.config import command

    command("prepare", main, __doc__ or "")
