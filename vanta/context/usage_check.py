"""Which reported token counts are believed.

Servers report zeros, negative numbers, one part of two, or numbers that no window holds. A count is
believed only if it is possible: text was seen, so it is not 0; it is at least what the visible text
needs and at most the window. An estimate takes the place of every other count.

Invariant: the counts of a believed usage are whole numbers from 0 to `MAX_TOKENS`, and `exact` is
False if one of them is an estimate. Pure, and quick also for a prompt or an answer of megabytes.
"""

from __future__ import annotations

import math

from vanta.context.estimate import estimate_extras, estimate_text, estimate_tokens
from vanta.context.images import image_tokens
from vanta.engine import GenerationRequest
from vanta.messages import Completion, Usage

MAX_TOKENS = 100_000_000
"""The largest count that is believed of a model whose window is not known."""

SAMPLE = 16_384
"""Characters of a long text that are looked at, because usage is checked on the event loop."""

LONGEST_TOKEN_BYTES = 128
"""No token of a vocabulary in use is longer: o200k ends at 128 spaces."""

WORDS_PER_TOKEN = 2
"""Tokens end with a word in today's vocabularies; those that join words join two on average."""


def believed_usage(
    reported: Usage | None,
    request: GenerationRequest,
    seen: Completion,
    *,
    window: int | None = None,
    produced: int = 0,
) -> Usage:
    """Return a usage with each impossible count replaced by an estimate.

    :param reported: the token counts that an engine reported, or None.
    :param request: the request that was sent.
    :param seen: the answer so far.
    :param window: the model's window in tokens, or None if it is unknown.
    :param produced: the number of deltas with content, which is the least estimate of the answer.
    :returns: the reported counts as far as they are possible.
    """
    most = min(window or MAX_TOKENS, MAX_TOKENS)
    fewest_in, fewest_out = _fewest(request, seen)
    is_estimate = reported is None or not reported.exact
    tokens_in = reported.input_tokens if reported else None
    tokens_out = reported.output_tokens if reported else None
    if is_estimate:  # a rough count may err, but not about whether there is anything to count
        fewest_in, fewest_out = min(fewest_in, 1), min(fewest_out, 1)
    if not _is_count(tokens_in, fewest_in, most):
        tokens_in, is_estimate = _estimated_input(request), True
    if not _is_count(tokens_out, fewest_out, most):
        tokens_out, is_estimate = max(produced, _estimated_output(seen)), True
    cached = reported.cached_input_tokens if reported else 0
    return Usage(
        tokens_in or 0,
        tokens_out or 0,
        cached if _is_count(cached, 0, tokens_in or 0) else 0,
        exact=not is_estimate,
    )


def finite(value: float) -> float:
    """Return a measured number, or 0 if it is negative, infinite or not a number.

    :param value: a number that an engine reported.
    """
    return value if math.isfinite(value) and value > 0 else 0


def fewest_tokens(text: str) -> int:
    """Return a number of tokens that the text needs in any vocabulary.

    :param text: any text. Beyond `SAMPLE` characters only its length counts.
    """
    sample = text[:SAMPLE]
    size = len(sample.encode("utf-8", "surrogatepass")) + len(text) - len(sample)
    words = len(sample.split())
    return max(-(-size // LONGEST_TOKEN_BYTES), -(-words // WORDS_PER_TOKEN))


class OutputLimit:
    """Notices that an answer has certainly more tokens than its request allows.

    Some servers ignore `max_tokens`; what they send beyond it costs money that was not reserved.

    :param max_tokens: the request's limit, or None for no limit.
    """

    def __init__(self, max_tokens: int | None) -> None:
        self._most = math.inf if max_tokens is None else max_tokens
        self._words = self._bytes = 0
        self._in_word = False

    def is_passed(self, text: str) -> bool:
        """Count the next fragment of the answer; return whether the limit is certainly passed.

        :param text: the fragment.
        """
        if not text or math.isinf(self._most):
            return False
        continues = self._in_word and not text[0].isspace()
        self._words += len(text.split()) - continues
        self._bytes += len(text.encode("utf-8", "surrogatepass"))
        self._in_word = not text[-1].isspace()
        fewest = max(self._words / WORDS_PER_TOKEN, self._bytes / LONGEST_TOKEN_BYTES)
        return fewest > self._most


def _fewest(request: GenerationRequest, seen: Completion) -> tuple[int, int]:
    """Return the least possible counts of prompt and answer.

    Words do not count in a prompt: some servers report only the part that was not cached. Reasoning
    does not count in an answer: some servers report it apart.
    """
    size = sum(len(message.content) for message in request.messages)
    calls = sum(fewest_tokens(call.name + call.arguments) for call in seen.tool_calls)
    return max(1, size // LONGEST_TOKEN_BYTES), fewest_tokens(seen.text) + calls


def _is_count(value: object, fewest: int, most: int) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and fewest <= value <= most  # type: ignore[operator]


def _estimated_input(request: GenerationRequest) -> int:
    size = sum(len(message.content) for message in request.messages)
    if size <= SAMPLE:
        return estimate_tokens(request.messages).value + estimate_extras(request)
    texts = sum(_estimate(message.content) for message in request.messages)
    return texts + image_tokens(request.messages)


def _estimated_output(seen: Completion) -> int:
    calls = sum(_estimate(call.name + call.arguments) for call in seen.tool_calls)
    return _estimate(seen.text) + _estimate(seen.reasoning) + calls


def _estimate(text: str) -> int:
    """Return an estimate of a text, from its beginning if it is long."""
    tokens = estimate_text(text[:SAMPLE])
    return tokens if len(text) <= SAMPLE else math.ceil(tokens * len(text) / SAMPLE)
