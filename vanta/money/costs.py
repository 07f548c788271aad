"""What a leg can cost at the most, and what a leg did cost whose provider does not say.

Pure functions. Invariant: for the same request, no estimate and no real usage within `max_tokens`
costs more than `max_cost_usd`, as long as the prompt was counted exactly or within `MARGIN`.
"""

from __future__ import annotations

import dataclasses
import json
import math

from vanta.context.estimate import estimate_text
from vanta.engine import GenerationRequest, TokenCount
from vanta.messages import Completion, Usage
from vanta.track import Track

MARGIN = 1.25
"""How much higher than its estimate a prompt may turn out; see `vanta.context.estimate`."""


def output_limit(track: Track, request: GenerationRequest) -> int:
    """Tokens that the answer may have: what the request says, else the track's reply reserve."""
    asked = request.sampling.max_tokens
    return track.reply_reserve if asked is None else asked


def bounded(track: Track, request: GenerationRequest) -> GenerationRequest:
    """The request with its output limit spelt out, so that its cost has an upper end."""
    limit = output_limit(track, request)
    sampling = dataclasses.replace(request.sampling, max_tokens=limit)
    return dataclasses.replace(request, sampling=sampling)


def max_input_tokens(request: GenerationRequest, counted: TokenCount) -> int:
    """The most that a prompt can take. `counted` is of the request's messages; what else is sent
    with them (tools, a schema, a prefix) is estimated on the high side."""
    extra = estimate_text(request.prefix)
    for tool in request.tools:
        extra += estimate_text(tool.name + tool.description + json.dumps(dict(tool.parameters)))
    if request.sampling.json_schema is not None:
        extra += estimate_text(json.dumps(dict(request.sampling.json_schema)))
    messages = counted.value if counted.exact else math.ceil(counted.value * MARGIN)
    return messages + extra


def max_cost_usd(track: Track, request: GenerationRequest, counted: TokenCount) -> float:
    """What one leg with this request can cost at the most, in US dollars."""
    return track.price.of_tokens(max_input_tokens(request, counted), output_limit(track, request))


def estimate_loser(
    track: Track, request: GenerationRequest, counted: TokenCount, seen: Completion
) -> Usage:
    """The usage of a leg that was cut off before its provider reported any: the prompt, and what
    was seen of the answer. Labelled as an estimate."""
    written = estimate_text(seen.text) + estimate_text(seen.reasoning)
    return within_bounds(track, request, counted, Usage(counted.value, written, exact=False))


def within_bounds(
    track: Track, request: GenerationRequest, counted: TokenCount, usage: Usage
) -> Usage:
    """An estimated usage, no higher than what the request allows; an exact one as it is."""
    if usage.exact:
        return usage
    return dataclasses.replace(
        usage,
        input_tokens=min(usage.input_tokens, max_input_tokens(request, counted)),
        output_tokens=min(usage.output_tokens, output_limit(track, request)),
    )
