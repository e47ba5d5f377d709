"""Answers as HTML, for the page. What comes from files is escaped."""

from collections.abc import Sequence

from markupsafe import Markup

from zoo.over_time import clock
from zoo.serving.schema import Classified, Neighbour

MOST_BARS = 8

BAR = Markup(
    '<li><span class="name">{}</span><span class="bar" aria-hidden="true">'
    '<span style="width:{:.1f}%"></span></span><span class="value">{:.0%}</span></li>'
)
NEIGHBOUR = Markup(
    '<li><div class="head"><strong>{title}</strong> <span>{facts}</span></div>'
    '<audio controls preload="none" src="v1/tracks/{track}/audio" aria-label="{title}"></audio>'
    '<p class="reasons">{reasons}</p></li>'
)


def bars(said: Classified) -> Markup:
    """Return the most probable classes as bars."""
    shown = list(said.probabilities.items())[:MOST_BARS]
    items = Markup("").join(BAR.format(name, 100 * prob, prob) for name, prob in shown)
    return Markup(
        '<div class="answer"><p class="genre">{}</p><ul class="bars">{}</ul></div>'
    ).format(_genre(said.genre), items)


def compared(answers: Sequence[Classified]) -> Markup:
    """Return what each model says, side by side, and whether they agree."""
    genres = {said.genre for said in answers}
    verdict = f"All say {_genre(answers[0].genre)}." if len(genres) == 1 else "They do not agree."
    columns = [Markup("<section><h2>{}</h2>{}</section>").format(a.model, bars(a)) for a in answers]
    return Markup('<p>{}</p><div class="compared">{}</div>').format(
        verdict, Markup("").join(columns)
    )


def neighbours(found: Sequence[Neighbour]) -> Markup:
    """Return tracks of the library, each with a player and reasons."""
    items = [
        NEIGHBOUR.format(
            title=" \N{EN DASH} ".join(filter(None, [one.artist, one.title or one.name])),
            facts=f"{_genre(one.genre)}, {clock(one.seconds)}, similarity {one.similarity:.3f}",
            track=one.track,
            reasons="; ".join(one.reasons),
        )
        for one in found
    ]
    return Markup('<ol class="neighbours">{}</ol>').format(Markup("").join(items))


def _genre(genre: str) -> str:
    return genre.replace("|", ", ") or "nothing sure"
