"""What a server counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CLIPS = (1, 2, 4, 8, 16, 32, 64)


class Measures:
    """The measures of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "genre_zoo_requests", "Answered requests.", ["endpoint", "status"], registry=registry
        )
        self.seconds = Histogram(
            "genre_zoo_request_seconds",
            "From a request's first byte to the last of its answer.",
            ["endpoint"],
            registry=registry,
            buckets=SECONDS,
        )
        self.in_house = Gauge(
            "genre_zoo_requests_in_house",
            "Requests that wait, or are received, decoded or computed now.",
            registry=registry,
        )
        self.clips = Histogram(
            "genre_zoo_batch_clips",
            "Clips that went through a model together.",
            ["model"],
            registry=registry,
            buckets=CLIPS,
        )
        self.audio_seconds = Counter(
            "genre_zoo_audio_seconds", "Audio that was decoded.", registry=registry
        )
        self.unreadable = Counter(
            "genre_zoo_unreadable_files", "Files that could not be decoded.", registry=registry
        )
        self._decoders = Gauge(
            "genre_zoo_decoder_starts",
            "Decoding processes that were started, those included that a file ended.",
            registry=registry,
        )

    def count_decoders(self, count: Callable[[], int]) -> None:
        """Take the number of decoding processes from there."""
        self._decoders.set_function(count)

    def text(self) -> bytes:
        """Return all in the text format of Prometheus."""
        return generate_latest(self._registry)
