"""What a server does: it decodes a file in a guarded process, hears it in batches, and answers."""

import asyncio
import itertools
import math
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Container, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zoo.answers import Answers, make_answers
from zoo.decoder import Decoded
from zoo.decoding import num_cores
from zoo.errors import InputError
from zoo.index import identity
from zoo.inference import Heard, Track
from zoo.listening import Place, every_second, listening
from zoo.markdown import plain
from zoo.runners import Runner
from zoo.serving.asked import Events
from zoo.serving.batching import Batcher
from zoo.serving.limits import Limits, Refused, busy, ending
from zoo.serving.measures import Measures
from zoo.serving.shelf import Found, Shelf
from zoo.serving.uploads import Uploads
from zoo.workers import Decoders

MOST_STEPS = 120  # of a track's time line
MOST_LETTERS = 80  # of what somebody sent, when it is repeated


@dataclass(frozen=True)
class Served:
    """A model that answers."""

    name: str
    runner: Runner
    answers: Answers
    batcher: Batcher


@dataclass(frozen=True)
class Sent:
    """A file that somebody has sent, under a name of ours."""

    path: Path
    name: str  # theirs, to speak of it


class Service:
    """The models of a server, what decodes for them, and the requests in the house."""

    def __init__(
        self,
        runners: Sequence[Runner],
        limits: Limits,
        measures: Measures,
        shelf: Shelf | None = None,
    ) -> None:
        """Raises `InputError` where the shelf's library is of none of the models."""
        self.limits, self.measures, self.shelf = limits, measures, shelf
        self.models: dict[str, Served] = {}
        for runner in runners:
            name = _new_name(runner.about.model, self.models)
            batcher = Batcher(runner, measures.clips.labels(name).observe)
            answers = make_answers(runner.about, name, None, None)
            self.models[name] = Served(name, runner, answers, batcher)
        self._searcher = self._model_of(shelf) if shelf else None
        self._folder = Path(tempfile.mkdtemp(prefix="genre-zoo-")).resolve()  # for us alone
        self.uploads = Uploads(self._folder / "uploads", limits)
        self.events: Events = {}  # of the page
        seconds = 60 * limits.minutes
        rates = {runner.about.sample_rate for runner in runners}
        self._decoders = {
            rate: Decoders(
                rate, num_cores(), self._folder, seconds, lambda _: limits.decode_seconds
            )
            for rate in rates
        }
        measures.count_decoders(lambda: sum(d.num_started for d in self._decoders.values()))
        self._num_inside = 0
        self._at_work = asyncio.Semaphore(limits.at_work)
        self.is_ending = False

    def close(self) -> None:
        """Finish what was begun, end the processes, and remove what was sent."""
        for model in self.models.values():
            model.batcher.close()
        for decoders in self._decoders.values():
            decoders.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Let a request in, in its turn: what waits is not read yet. Raises `Refused` where there
        is no room for it, and at the server's end."""
        if self.is_full:
            raise busy()
        self._num_inside += 1
        self.measures.in_house.set(self._num_inside)
        try:
            async with self._at_work:
                if self.is_ending:
                    raise ending()
                yield
        finally:
            self._num_inside -= 1
            self.measures.in_house.set(self._num_inside)

    @property
    def is_full(self) -> bool:
        """Whether no more requests are let in now."""
        return self._num_inside >= self.limits.queue

    def model(self, name: str | None) -> Served:
        """Return the model of that name, by default the first. Raises `Refused` for another."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            known = ", ".join(self.models)
            raise Refused(404, f"There is no model {short(name)}; known are {known}.")
        return self.models[name]

    @asynccontextmanager
    async def keep(self, file: BinaryIO, name: str) -> AsyncIterator[Sent]:
        """Keep what was sent for as long as it is needed, under a name of ours."""
        path = self._folder / uuid.uuid4().hex
        copying = asyncio.ensure_future(asyncio.to_thread(_copy, file, path))
        try:
            await asyncio.shield(copying)
            yield Sent(path, name)
        finally:
            await asyncio.wait({copying})  # nothing stops a thread
            path.unlink(missing_ok=True)

    async def decode(self, sent: Sent, rate: int) -> Decoded:
        """Return the samples of a file. Raises `Refused` with the reason against it."""
        key = (str(sent.path), *identity(str(sent.path)))
        decoded = await asyncio.wrap_future(self._decoders[rate].submit(key))
        if isinstance(decoded, str):
            self.measures.unreadable.inc()
            raise Refused(422, f"{short(sent.name)} {decoded.rstrip('.')}.")
        self.measures.audio_seconds.inc(len(decoded.samples) / rate)
        return decoded

    async def hear(self, model: Served, decoded: Decoded, listen: str = "all") -> Heard:
        """Return what a model hears in a track."""
        about = model.runner.about
        place = listening(listen, about.sample_rate, about.clip_samples)
        return await self._hear(model, decoded, place)

    async def hear_over_time(self, model: Served, decoded: Decoded) -> tuple[Heard, int]:
        """Return what it hears step by step, and the length of a step in seconds."""
        about = model.runner.about
        seconds = len(decoded.samples) / about.sample_rate
        step = math.ceil(seconds / MOST_STEPS)
        place = every_second(about.sample_rate, about.clip_samples, step)
        return await self._hear(model, decoded, place), step

    async def _hear(self, model: Served, decoded: Decoded, place: Place) -> Heard:
        starts = place(len(decoded.samples))
        track = Track("", ("", 0, 0), decoded, starts, model.runner.about)
        return await asyncio.wrap_future(model.batcher.submit(track))

    async def similar(self, sent: Sent, number: int) -> tuple[Served, list[Found]]:
        """Return the tracks of the library that are nearest to a file, and by which model. Raises
        `Refused` where there is no library, and as `decode` does."""
        if self.shelf is None or self._searcher is None:
            raise Refused(404, "This server has no library to find similar tracks in.")
        model = self._searcher
        decoded = await self.decode(sent, model.runner.about.sample_rate)
        heard = await self.hear(model, decoded, self.shelf.origin.listen)
        try:
            return model, await asyncio.to_thread(self.shelf.search, heard, number)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            raise Refused(503, "The tracks of the library cannot be reached now.") from error

    async def compare(self, sent: Sent) -> list[tuple[Served, Heard]]:
        """Return what each model hears in a file."""
        rates = sorted(self._decoders)
        samples = await asyncio.gather(*(self.decode(sent, rate) for rate in rates))
        by_rate = dict(zip(rates, samples, strict=True))
        models = list(self.models.values())
        heard = await asyncio.gather(
            *(self.hear(model, by_rate[model.runner.about.sample_rate]) for model in models)
        )
        return list(zip(models, heard, strict=True))

    def _model_of(self, shelf: Shelf) -> Served:
        differences = {m.name: shelf.difference(m.runner) for m in self.models.values()}
        for name, difference in differences.items():
            if not difference:
                return self.models[name]
        said = "; ".join(f"{name} has {difference}" for name, difference in differences.items())
        raise InputError(
            f"the library is of {shelf.origin.model}, which is not served ({said}); serve it too, "
            "or embed the library with a model that is."
        )


def short(text: str) -> str:
    """Return what somebody has sent in a form that can be printed and read."""
    shown = plain(text)
    return shown if len(shown) <= MOST_LETTERS else f"{shown[: MOST_LETTERS - 1]}…"


def _new_name(name: str, taken: Container[str]) -> str:
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


def _copy(source: BinaryIO, path: Path) -> None:
    with path.open("xb") as target:
        shutil.copyfileobj(source, target, 2**20)
