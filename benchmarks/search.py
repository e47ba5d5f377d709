"""What a recipe is searched in, `configs/tune.yaml`, and how: by the tree-structured Parzen
estimator of Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization, as Optuna has it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import Field, TypeAdapter

from zoo.errors import InputError
from zoo.registry import configs_dir
from zoo.results import Strict, flat

RANDOM_TRIALS = 4  # before the estimator has something to estimate from
DIGITS = 3  # significant ones of numbers that are tried

Parameters = dict[str, Any]
"""Keys of zoo.train and their values."""


class Range(Strict):
    """Numbers from `low` to `high`, both included; whole ones where both are."""

    low: int | float
    high: int | float
    log: bool = False  # even by the logarithm


class Times(Strict):
    """Numbers so many times smaller to so many times larger than the row's own."""

    times: float = Field(gt=1)


class Choices(Strict):
    """One of these."""

    choices: list[Any] = Field(min_length=1)


Space = dict[str, Range | Choices]
"""What each key may be set to."""


Wanted = Range | Times | Choices
BY_METHOD = TypeAdapter(dict[str, dict[str, Wanted]])


def read_spaces() -> dict[str, dict[str, Wanted]]:
    """Return what `configs/tune.yaml` says: method of `finetune` -> key -> values."""
    text = (configs_dir() / "tune.yaml").read_text("utf-8")
    return BY_METHOD.validate_python(yaml.safe_load(text))


def space_of(config: Mapping[str, Any], given: Sequence[str]) -> Space:
    """Return where the recipe of a configuration is searched.

    The keys `given` stay as somebody set them; so does what is off (0), and a published recipe.
    """
    if config["recipe"]["name"] == "published":
        return {}
    own = flat(config)
    wanted = read_spaces()[config["finetune"]["name"]]
    around = {key: _around(w, own[key]) for key, w in wanted.items() if key not in given}
    return {key: values for key, values in around.items() if values is not None}


def _around(wanted: Wanted, own: Any) -> Range | Choices | None:
    """Return what may be tried where the row has a value of its own, which is part of it."""
    if isinstance(wanted, Choices):
        return wanted if own in wanted.choices else Choices(choices=[own, *wanted.choices])
    if isinstance(wanted, Times):
        wanted = Range(low=_short(own / wanted.times), high=_short(own * wanted.times), log=True)
    if wanted.log and own <= 0:
        return None
    return Range(low=min(wanted.low, own), high=max(wanted.high, own), log=wanted.log)


def propose(
    space: Space, tried: Sequence[tuple[Parameters, float | None]], seed: int
) -> Parameters:
    """Return the parameters to try next: a function of the arguments alone.

    `tried` are those so far with what they reached, the more the better; None is a failure, which
    counts as worse than all that did not fail. Raises `InputError` where Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise InputError("tune needs Optuna: pip install 'genre-zoo[tune]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    makers: Any = optuna.distributions
    distributions = {key: _distribution(makers, values) for key, values in space.items()}
    sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed + len(tried))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    states = optuna.trial.TrialState
    for parameters, value in tried:
        state = states.PRUNED if value is None else states.COMPLETE
        study.add_trial(
            optuna.create_trial(
                state=state, params=parameters, distributions=distributions, value=value
            )
        )
    asked = study.ask(distributions).params
    return {key: _inside(space[key], value) for key, value in asked.items()}


def _distribution(makers: Any, values: Range | Choices) -> Any:
    if isinstance(values, Choices):
        return makers.CategoricalDistribution(values.choices)
    is_whole = isinstance(values.low, int) and isinstance(values.high, int)
    kind = makers.IntDistribution if is_whole else makers.FloatDistribution
    return kind(values.low, values.high, log=values.log)


Value = TypeVar("Value")


def _inside(values: Range | Choices, value: Value) -> Value | float:
    """Return a number with few digits, in its range."""
    if isinstance(values, Choices) or not isinstance(value, float):
        return value
    return min(max(_short(value), values.low), values.high)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
