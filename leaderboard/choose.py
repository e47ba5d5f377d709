"""`python -m leaderboard choose`: the most accurate, or tied with it, that costs least."""

import re

import pandas as pd

from benchmarks.power import power
from benchmarks.price import Price, cheapest, price_of
from benchmarks.standings import Entry, standings
from leaderboard.board import Board, Section
from zoo.errors import InputError, nearest
from zoo.statistics import LEVEL, MIN_SEEDS

UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}


def parse_size(text: str) -> float:
    """Return a number of parameters, such as 5000000, 5M or 1.2B. Raises `InputError` else."""
    match = re.fullmatch(r"(\d+\.?\d*)([KMGB]?)", text.strip().upper())
    if match is None:
        raise InputError(f"--max-params {text} is no number of parameters; give one such as 5M.")
    return float(match[1]) * UNITS[match[2]]


def choose(
    board: Board, device: str | None, max_params: float | None, dataset: str | None
) -> list[str]:
    """Return for each protocol of real music (or of the data set that is named) in words which row
    to take of those that the limits leave.

    Raises `InputError` where no protocol, or nothing on the device, is there to choose from.
    """
    names = {section.protocol.dataset for section in board.sections}
    if dataset is not None and dataset not in names:
        raise InputError(f"--dataset {dataset} was not measured; {nearest(dataset, names)}")
    sections = [
        section
        for section in board.sections
        if (section.is_real if dataset is None else section.protocol.dataset == dataset)
    ]
    if not sections:
        raise InputError(
            "nothing was measured on real music; choose by a sanity check with --dataset "
            f"{min(names)}, if you must."
        )
    return [_choice(section, device, max_params) for section in sections]


def _choice(section: Section, device: str | None, max_params: float | None) -> str:
    protocol = section.protocol
    head = f"{protocol.dataset}, split {protocol.split}: "
    priced = [
        (e, price_of(e.runs, device)) for e in (section.ranked.entries if section.ranked else ())
    ]
    left = [
        (entry, price)
        for entry, price in priced
        if (max_params is None or price.parameters <= max_params)
        and (device is None or pd.notna(price.real_time))
        and len(entry.seeds) >= MIN_SEEDS
    ]
    if not left:
        limits = [f"up to {max_params:,.0f} parameters"] if max_params is not None else []
        limits += [f"measured on {device}"] if device else []
        return f"{head}no verified row of {MIN_SEEDS} seeds {' and '.join(limits)}".rstrip() + "."
    return head + _words(section, left)


def _words(section: Section, left: list[tuple[Entry, Price]]) -> str:
    """Say which of these rows is the cheapest that is not shown to be worse than their best."""
    one = standings([entry for entry, _ in left])
    prices = {entry.name: price for entry, price in left}
    if not one.tied:
        return "no claim: that takes two independent units."
    best = one.entries[one.tied[0]]
    tied = [one.entries[i] for i in one.tied]
    chosen = tied[cheapest([prices[entry.name] for entry in tied])]
    words = [
        f"take {chosen.name}, {chosen.metric.replace('_', ' ')} {chosen.mean:.3f}: "
        f"{prices[chosen.name]}."
    ]
    if chosen is not best:
        words.append(
            f"{best.name} has the highest mean, {best.mean:.3f}, but is not shown to be better "
            f"({LEVEL:.0%}, Holm over {len(one.comparisons)} pairs), and costs more: "
            f"{prices[best.name]}."
        )
        needed = power(best.values, chosen.values, best.units, one.seed_variance)
        if needed:
            words.append(f"To tell them apart: {needed}")
    others = [entry.name for entry in tied if entry is not best and entry is not chosen]
    if others:
        words.append(f"Not shown to be worse than {best.name} either: {', '.join(others)}.")
    return " ".join(words)
