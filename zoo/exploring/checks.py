"""The audit's findings, as far as the tracks that were measured show them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from zoo.datasets.base import Manifest
from zoo.exploring.measures import RATE
from zoo.exploring.sample import Sample
from zoo.findings import Finding, find
from zoo.prepare import Data

OF_AUDIO = ("audio", "chunks", "labels", "files")  # kinds that need the tracks' audio or length


def findings(manifest: Manifest, sample: Sample) -> list[Finding]:
    """Return what is found: of names in the whole manifest, of audio in the sample. None of it
    where tracks have no split."""
    if (manifest.frame["split"] == "").any():
        return []
    tried = {*sample.tracks["path"], *sample.failed["path"]}
    listed = manifest.select(manifest.frame["path"].isin(tried))
    heard = manifest.select(manifest.frame["path"].isin(sample.tracks["path"]))
    of_audio = _find(listed, heard, sample.tracks["hash"], sample.tracks["seconds"], sample.failed)
    unheard = pd.Series(np.arange(len(manifest.frame)).astype(str))
    seconds = pd.Series(0.0, unheard.index)
    of_names = _find(manifest, manifest, unheard, seconds, sample.failed.head(0))
    return [f for f in of_names if f.kind not in OF_AUDIO] + [
        f for f in of_audio if f.kind in OF_AUDIO
    ]


def _find(
    listed: Manifest, heard: Manifest, hashes: pd.Series, seconds: pd.Series, failed: pd.DataFrame
) -> list[Finding]:
    """Call the audit with what it reads of a store: lengths and hashes of the tracks heard."""
    store: Any = SimpleNamespace(
        content_hashes=hashes.tolist(), lengths=seconds.to_numpy() * RATE, sample_rate=RATE
    )
    return find(listed, Data(heard, store, failed))
