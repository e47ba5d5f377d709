"""The one exception that is meant for people, `InputError`, and how commands show it."""

import difflib
import os
import sys
from collections.abc import Callable, Iterable


class InputError(ValueError):
    """The user's input is wrong: one sentence that names it, what is wrong and what would be right.

    Commands print it without a traceback and exit with code 2.
    """


def nearest(word: str, known: Iterable[object], most: int = 3) -> str:
    """Return "did you mean a or b?" with the names nearest to `word`, in whatever case, else the
    list of all names; both end a sentence."""
    names = sorted(map(str, known))
    lower = {name.lower(): name for name in names}
    likeness = {n: difflib.SequenceMatcher(None, n, word.lower()).ratio() for n in lower}
    best = max(likeness.values(), default=0.0)
    least = best if best == 1.0 else best - 0.1
    close = sorted((n for n in lower if likeness[n] >= least), key=lambda n: -likeness[n])[:most]
    if best >= 0.6:
        return f"did you mean {' or '.join(lower[name] for name in close)}?"
    return f"known are {', '.join(names)}." if names else "nothing is known."


def check_choice(key: str, value: str, known: Iterable[str]) -> None:
    """Raise `InputError` for a value that is none of the known ones."""
    if value not in (names := list(known)):
        raise InputError(f"{key}={value} must be one of {', '.join(names)}.")


def guard(run: Callable[[], object]) -> None:
    """Run a command: an `InputError` becomes one line on stderr and exit code 2.

    With HYDRA_FULL_ERROR=1 the traceback is shown, for developers.
    """
    try:
        run()
    except InputError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
