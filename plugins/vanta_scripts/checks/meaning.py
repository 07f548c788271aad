"""The expectation `similar_to`: the reply means about what a text means.

How near two texts are is the cosine of their vectors by an embedder (1: the same, 0: nothing in
common); what is near enough differs from embedder to embedder. Invariant: a private reply is given
to no embedder that is not private.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vanta.expectations import Expectation, Failure, Seen
from vanta_scripts.checks.values import Text
from vanta_scripts.expectations import excerpt


class Likeness(BaseModel):
    """The text, how near the reply has to be, and by which embedder."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    text: Text
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    embedder: Text | None = None


def _by_text(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


async def _similar(likeness: Likeness, seen: Seen) -> Failure | None:
    text = seen.reply.text
    expected = f"a reply that means {excerpt(likeness.text)}"
    if not text.strip():
        return Failure("similar_to", expected, excerpt(text))
    embedder = await seen.embedder(likeness.embedder)
    if seen.reply.trace.private and not embedder.private:
        came = f"nothing compared: the turn is private, embedder {embedder.name!r} is not"
        return Failure("similar_to", expected, came)
    wanted, came_vector = await embedder.embed([likeness.text, text])
    near = float(wanted @ came_vector)
    if near >= likeness.threshold:
        return None
    expected += f" ({likeness.threshold:g} or more by {embedder.name!r})"
    return Failure("similar_to", expected, f"{near:.2f} for {excerpt(text)}")


EXPECTATIONS = (
    Expectation(
        "similar_to",
        "a text that the reply means about the same as",
        Annotated[Likeness, BeforeValidator(_by_text, json_schema_input_type=Text | Likeness)],
        _similar,
    ),
)
