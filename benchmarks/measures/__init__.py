"""What is measured of a finished run beside its scores: one module each, with `measure`.

`measure(run)` returns a table of raw figures (scores of tracks, embeddings, seconds), which
`benchmarks.measure` writes whole to `RUN/measures/<name>.parquet`. What they amount to is computed
from these tables by the module of the same name in `benchmarks.summaries`, which imports no torch.
"""
