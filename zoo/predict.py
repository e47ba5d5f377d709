"""`python -m zoo.predict MODEL FILE-OR-FOLDER...`: what genre is it, and how sure is that?

MODEL is a run, a model folder, a name on the Hub, or an exported file (.onnx runs without torch).
Prints a table of the tracks; --out writes it, with the probability of each class. Files that cannot
be read are named and the rest is done; the exit code is 1 then.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.answers import UNKNOWN, Answers, make_answers
from zoo.errors import InputError, check_choice, guard
from zoo.inference import Failed, Heard, find_files, hear, hear_at
from zoo.listening import LISTEN, every_second
from zoo.markdown import plain
from zoo.opening import open_runner
from zoo.out import check_out, write_out
from zoo.runners import Runner
from zoo.tree import read_tree

FORMATS = (".json", ".csv", ".parquet")
NUM_NEXT = 2  # classes that are named beside the answer


@dataclass
class Predictions:
    """What has been predicted so far."""

    runner: Runner
    answers: Answers
    rows: list[dict[str, Any]] = field(default_factory=list)  # of the file: a track or second each
    shown: list[dict[str, Any]] = field(default_factory=list)  # of the printed table
    failed: list[Failed] = field(default_factory=list)

    def add_track(self, heard: Heard) -> None:
        """Take a whole track."""
        answer = self.answers.answer(heard.prob_K)
        facts = {"path": heard.path, "seconds": round(heard.seconds, 2), **answer._asdict()}
        self.rows.append(facts | self._probabilities(heard.prob_K))
        beside = {} if self.runner.about.multilabel else {"then": self._next(heard.prob_K, answer)}
        self.shown.append({"track": plain(heard.path), **_cells(*answer), **beside})

    def add_seconds(self, heard: Heard, picture: Path) -> None:
        """Take a track second by second, and draw it."""
        from zoo import over_time

        about = self.runner.about
        prob_NK = about.calibrate(heard.chunk_prob_NK)
        answers = [self.answers.answer(prob_K) for prob_K in prob_NK]
        for second, (answer, prob_K) in enumerate(zip(answers, prob_NK, strict=True)):
            facts = {"path": heard.path, "second": second, **answer._asdict()}
            self.rows.append(facts | self._probabilities(prob_K))
        genres, probabilities = zip(*answers, strict=True)
        for run in over_time.runs(list(genres), np.array(probabilities)):
            times = {"from": over_time.clock(run.start), "to": over_time.clock(run.stop)}
            track = {"track": plain(heard.path)}
            self.shown.append(track | times | _cells(run.genre, run.probability))
        title = plain(Path(heard.path).name)
        over_time.draw(picture, title, about.classes, prob_NK, about.multilabel)

    def _probabilities(self, prob_K: np.ndarray) -> dict[str, float]:
        classes = self.runner.about.classes
        return {f"p:{name}": float(p) for name, p in zip(classes, prob_K, strict=True)}

    def _next(self, prob_K: np.ndarray, answer: Any) -> str:
        classes = self.runner.about.classes
        order = [k for k in np.argsort(-prob_K) if classes[k] != answer.genre][:NUM_NEXT]
        return ", ".join(f"{classes[k]} {prob_K[k]:.2f}" for k in order)


def _cells(genre: str, probability: float) -> dict[str, str]:
    return {"genre": genre.replace("|", ", ") or "(none)", "probability": f"{probability:.3f}"}


def write(file: Path, found: Predictions, settings: dict[str, Any]) -> None:
    """Write what was predicted; JSON says of which model, how, and which files failed, too."""
    frame = pd.DataFrame(found.rows)
    if file.suffix == ".csv":
        content = frame.to_csv(index=False).encode()
    elif file.suffix == ".parquet":
        content = frame.to_parquet(index=False)
    else:
        failed = [failed._asdict() for failed in found.failed]
        whole = {**settings, "predictions": found.rows, "failed": failed}
        content = json.dumps(whole, indent=1, ensure_ascii=False).encode()
    write_out(file, content)


def settings_of(runner: Runner, options: argparse.Namespace) -> dict[str, Any]:
    """Return what predictions follow from beside the audio."""
    about = runner.about
    temperature = about.calibrated.temperature if about.calibrated else None
    return {
        "model": f"{about.model} on {about.frontend}",
        "weights": about.weights,
        "temperature": temperature,
        "listen": options.listen,
        "min_precision": options.min_precision,
    }


class Pictures:
    """Names for the pictures of tracks, each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[str] = set()

    def file(self, track: str, what: str) -> Path:
        """Return where the picture of a track goes; its folder is there."""
        name, number = f"{Path(track).stem}-{what}", 1
        while name in self._taken:
            number += 1
            name = f"{Path(track).stem}-{what}-{number}"
        self._taken.add(name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--pictures {self.folder} cannot be made: {error.strerror}."
            ) from error
        return self.folder / f"{name}.png"


def predict(options: argparse.Namespace, runner: Runner, found: Predictions) -> None:
    """Hear all files, and keep what is predicted as it comes."""
    files, about = find_files(options.paths), runner.about
    pictures = Pictures(options.pictures)
    if options.over_time:
        place = every_second(about.sample_rate, about.clip_samples)
        tracks = hear_at(runner, files, place, progress="predicting")
    else:
        tracks = hear(runner, files, options.listen, progress="predicting")
    for heard in tracks:
        if isinstance(heard, Failed):
            found.failed.append(heard)
            print(f"{plain(heard.path)} {plain(heard.reason)}", file=sys.stderr)
            continue
        if options.over_time:
            found.add_seconds(heard, pictures.file(heard.path, "over-time"))
        else:
            found.add_track(heard)
        if options.explain:
            explain(runner, options.model, heard, pictures.file(heard.path, "explained"))


def explain(runner: Runner, name: str, heard: Heard, picture: Path) -> None:
    """Draw what mattered in the chunk of a track that speaks most for the track's genre."""
    from zoo import explain

    about, k = runner.about, int(heard.prob_K.argmax())
    start = int(heard.starts[heard.chunk_prob_NK[:, k].argmax()])
    clip = np.resize(heard.samples[start : start + about.clip_samples], about.clip_samples)
    found = explain.explain(explain.explainable(runner, name), clip, k)
    title = f"{plain(Path(heard.path).name)}: what speaks for {about.classes[k]}"
    seconds = about.clip_samples / about.sample_rate
    explain.draw(picture, title, found, start / about.sample_rate, seconds)


def report(options: argparse.Namespace, found: Predictions) -> None:
    """Print the table and where the files are."""
    if found.shown:
        print(pd.DataFrame(found.shown).to_markdown(index=False, disable_numparse=True))
    if options.out is not None:
        print(f"\nwrote {options.out}")
    if options.over_time or options.explain:
        print(f"\npictures are in {options.pictures}")
    least = found.answers.least
    if least is not None and found.shown:
        levels = [f"{t.probability:.3f} ({t.coverage:.0%} of the validation tracks)" for t in least]
        print(f"\n{UNKNOWN} below a probability of {', '.join(levels)}", file=sys.stderr)
    if found.failed:
        print(f"\n{len(found.failed)} files could not be read", file=sys.stderr)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(prog="python -m zoo.predict", description=__doc__)
    add = parser.add_argument
    add("model", help="a run, a model folder, a name on the Hub, an exported file")
    add("paths", nargs="+", metavar="PATH", help="audio files, and folders of them")
    add("--out", type=Path, metavar="FILE", help="write all probabilities: .json, .csv, .parquet")
    add("--listen", default="all", metavar="HOW", help=f"{', '.join(LISTEN)}: less is faster")
    add("--over-time", action="store_true", help="second by second, and a picture")
    add(
        "--min-precision",
        type=float,
        metavar="P",
        help="answer only from the probability on from which validation tracks were right so often",
    )
    add("--tree", type=Path, metavar="FILE", help="YAML, such as `rock: [metal, punk]`")
    add("--explain", action="store_true", help="draw which part of the spectrogram mattered")
    add("--pictures", type=Path, metavar="DIR", default=Path("pictures"), help="where they go")
    options = parser.parse_args(arguments)
    check_choice("--listen", options.listen, LISTEN)
    if options.over_time and options.listen != "all":
        raise InputError("--over-time hears all of a track; leave --listen out.")
    if options.min_precision is not None and not 0 < options.min_precision <= 1:
        raise InputError(f"--min-precision {options.min_precision:g} must lie in 0 to 1.")
    check_out(options.out, FORMATS)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = parse(arguments)
    runner = open_runner(options.model)
    levels = read_tree(options.tree, runner.about.classes) if options.tree else None
    answers = make_answers(runner.about, options.model, levels, options.min_precision)
    if options.explain:
        from zoo.explain import explainable

        explainable(runner, options.model)
    if runner.about.calibrated is None:
        print(f"{options.model} has no calibration: probabilities are its own", file=sys.stderr)
    found = Predictions(runner, answers)
    try:
        predict(options, runner, found)
    finally:  # also when interrupted: what has been computed is not lost
        if options.out is not None and (found.rows or found.failed):
            write(options.out, found, settings_of(runner, options))
        report(options, found)
    if found.failed:
        sys.exit(1)


if __name__ == "__main__":
    guard(main)
