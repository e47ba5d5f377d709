"""The answers of the API, as OpenAPI documents them."""

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why a request was not served."""

    error: str = Field(description="One sentence.", examples=["song.mp3 is silent."])


class Model(BaseModel):
    """A model that answers."""

    name: str = Field(description="What `model=` takes.")
    architecture: str = Field(examples=["fcn on mel"])
    weights: str = Field(description="A hash of the weights and of how they are computed with.")
    classes: list[str]
    multilabel: bool = Field(description="Whether a track may have several classes.")
    calibrated: bool = Field(description="Whether probabilities are calibrated on validation data.")
    sample_rate: int = Field(description="In Hz; what is sent is resampled to it.")
    clip_seconds: float = Field(description="The length of what is heard at once.")
    licence: str | None = Field(description="Of the weights it started from, where it is known.")


class Said(BaseModel):
    """What a model says."""

    genre: str = Field(description="Several tags are joined by `|`; empty where none is sure.")
    probability: float = Field(description="Of the genre, or of the surest tag.")
    probabilities: dict[str, float] = Field(description="Of each class, the most probable first.")


class Classified(Said):
    """What a model says of a track."""

    model: str
    seconds: float = Field(description="The length of the track.")


class Step(Said):
    """What a model says of a part of a track."""

    start: int = Field(description="In seconds.")


class OverTime(BaseModel):
    """What a model says of a track, step by step."""

    model: str
    seconds: float = Field(description="The length of the track.")
    step_seconds: int = Field(description="From one step to the next: more for long tracks.")
    steps: list[Step]


class Compared(BaseModel):
    """What each model says of a track."""

    answers: list[Classified]


class Neighbour(BaseModel):
    """A track of the library that sounds alike."""

    rank: int
    similarity: float = Field(description="Cosine of the embeddings.")
    track: int = Field(description="Its number; its audio is at `/v1/tracks/{track}/audio`.")
    name: str = Field(description="Of its file.")
    artist: str = Field(description="Empty where it is not known.")
    title: str = Field(description="Empty where it is not known.")
    genre: str
    seconds: float
    reasons: list[str] = Field(description="What speaks for it, and what against it.")


class Similar(BaseModel):
    """The tracks of the library that sound most alike."""

    model: str
    neighbours: list[Neighbour]
