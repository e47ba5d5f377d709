"""`python -m zoo.audit dataset=NAME`: what would make a score too good, and how many test tracks.

usage: python -m zoo.audit [dataset=NAME] [dataset.path=PATH] [dataset.folds=N] [split=NAME]
                           [output_dir=DIR] [audit=strict] [key=value ...]

Looks for the same audio, near duplicates, pieces of one recording, and the same artist, album or
group in more than one split; for contradictory labels; for files that cannot be used; and for
classes that a split lacks. So does every training run, but for near duplicates.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.datasets.base import Manifest
from zoo.errors import InputError, check_choice
from zoo.findings import Case, Finding, find
from zoo.prepare import Data, decode_tracks, load_manifest
from zoo.registry import build
from zoo.results import Audited, Warned

MODES = ("warn", "strict")
SHOWN = 3  # cases of a finding on the screen; in the report there are more of them
LISTED = 50  # in audit.md; audit.json has all


@dataclass(frozen=True)
class Audit:
    """What was found in a split of a data set."""

    dataset: str
    split: str
    fold: int | None
    num_test: int  # test tracks that are scored
    findings: tuple[Finding, ...]

    @property
    def warnings(self) -> list[Finding]:
        """What makes the score too good, or wrong."""
        return [finding for finding in self.findings if not finding.is_note]

    @property
    def num_affected(self) -> int:
        """Test tracks that a warning is about."""
        return len({track for finding in self.warnings for track in finding.affected})

    def share(self, number: int) -> str:
        """Return a number of test tracks as share of all."""
        return f"{number:,} of {self.num_test:,} test tracks ({number / self.num_test:.1%})"

    def line(self, finding: Finding) -> str:
        """Return the finding's sentence, with its share of the test tracks."""
        number = len(finding.affected)
        return f"{finding.sentence}: {self.share(number)}" if number else finding.sentence

    def for_result(self) -> Audited:
        """Return what a run's result carries."""
        return Audited(
            test_tracks=self.num_test,
            affected=self.num_affected,
            warnings=[
                Warned(kind=f.kind, sentence=f.sentence, affected=len(f.affected))
                for f in self.warnings
            ],
        )


def audit(listed: Manifest, data: Data, duplicates: pd.DataFrame | None = None) -> Audit:
    """Return what is found in the tracks that were listed, and decoded as far as possible;
    `duplicates` as in `find`."""
    num_test = len(data.rows("test"))
    found = tuple(find(listed, data, duplicates))
    return Audit(listed.name, listed.split_name, listed.fold, num_test, found)


def check(listed: Manifest, data: Data, config: Any, folder: Path) -> Audited:
    """Audit a run's tracks, say what is wrong with them on stderr, and all of it in `folder`.

    Raises `InputError` if there is anything and `audit=strict`.
    """
    found = audit(listed, data)
    if found.warnings:
        write(found, folder)
        for finding in found.warnings:
            print(f"audit: {found.line(finding)}", file=sys.stderr)
        affected = found.share(found.num_affected)
        print(f"audit: {affected} are affected; see {folder / 'audit.md'}", file=sys.stderr)
    refuse(found, listed, config, folder)
    return found.for_result()


def refuse(found: Audit, listed: Manifest, config: Any, folder: Path) -> None:
    """Raise `InputError` if anything was found and `audit=strict`."""
    if found.warnings and config.audit == "strict":
        raise InputError(
            f"audit=strict: {listed.where}: {'; '.join(map(found.line, found.warnings))}; ask for "
            f"another split (split=artist), mend what {folder / 'audit.md'} names, or let it pass "
            "with audit=warn."
        )


def summary(found: Audit, num_cases: int) -> Iterator[str]:
    """Yield the lines of the report, in Markdown; so many cases of each finding."""
    fold = "" if found.fold is None else f", fold {found.fold}"
    yield f"# Audit of {found.dataset}, split {found.split}{fold}\n"
    if found.warnings:
        yield f"{found.share(found.num_affected)} are affected by what makes a score too good.\n"
    else:
        yield f"Nothing makes a score on the {found.num_test:,} test tracks too good.\n"
    for finding in sorted(found.findings, key=lambda finding: finding.is_note):
        yield f"## {finding.kind}{' (a note)' if finding.is_note else ''}\n"
        yield f"{found.line(finding)}.\n"
        yield from (f"- {_shown(case)}" for case in finding.cases[:num_cases])
        if more := finding.cases[num_cases:]:
            yield f"- and {len(more):,} more (all of them: audit.json)"
        yield ""


def _shown(case: Case) -> str:
    """Return the case's name, and for each thing said of its tracks the first and their number."""
    said: dict[str, list[str]] = {}
    for path, words in case.paths.items():
        said.setdefault(words, []).append(_printable(path))
    tracks = (
        f"`{paths[0]}` ({words}{f', and {len(paths) - 1:,} more' if paths[1:] else ''})"
        for words, paths in said.items()
    )
    return ": ".join(part for part in (_printable(case.name), ", ".join(tracks)) if part)


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def write(found: Audit, folder: Path) -> None:
    """Write audit.md for people and audit.json for programs. Raises `InputError`."""
    content = {
        "dataset": found.dataset,
        "split": found.split,
        "fold": found.fold,
        "test_tracks": found.num_test,
        "affected": found.num_affected,
        "findings": [asdict(finding) for finding in found.findings],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "audit.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        (folder / "audit.md").write_text("\n".join(summary(found, LISTED)), "utf-8")
    except OSError as error:
        raise InputError(f"output_dir={folder} cannot be written: {error.strerror}.") from error


def main(config: Any) -> None:
    """Audit what training with this configuration would read."""
    from zoo.duplicates import near_duplicates

    check_choice("audit", config.audit, MODES)
    manifest = load_manifest(config)
    data = decode_tracks(manifest, config, build(config.frontend).sample_rate)
    found = audit(manifest, data, near_duplicates(data.store, config.prepare.workers))
    fold = "" if found.fold is None else f"-fold{found.fold}"
    folder = Path(config.output_dir or Path("audits") / found.dataset / f"{found.split}{fold}")
    write(found, folder)
    print("\n".join(summary(found, SHOWN)))
    print(f"the report: {folder / 'audit.md'}, and all of it in audit.json")
    refuse(found, manifest, config, folder)


if __name__ == "__main__":
    from zoo.config import command

    command("audit", main, __doc__ or "")
