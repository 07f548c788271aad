"""Log probabilities of tokens, in the two shapes that OpenAI's clients read.

Chat completions have a list of tokens, completions have lists side by side. Invariant: both have
every token of the answer, with its alternatives in order; an answer without them has None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vanta import Reply, TokenLogprob


def chat_logprobs(reply: Reply, rivals: int | None) -> dict[str, Any] | None:
    """Return the tokens of an answer as a chat completion has them.

    :param reply: the answer.
    :param rivals: the number of alternatives that the client asked for; None for no logprobs.
    :returns: None if there are none, such as after a takeover.
    """
    if rivals is None or not reply.logprobs:
        return None
    return {"content": [_token(item, rivals) for item in reply.logprobs], "refusal": None}


def text_logprobs(reply: Reply, rivals: int | None) -> dict[str, Any] | None:
    """Return the tokens of an answer as a completion has them.

    :param reply: the answer.
    :param rivals: the number of alternatives that the client asked for; None for no logprobs.
    :returns: None if there are none, such as after a takeover.
    """
    if rivals is None or not reply.logprobs:
        return None
    return {
        "tokens": [item.token for item in reply.logprobs],
        "token_logprobs": [item.logprob for item in reply.logprobs],
        "top_logprobs": [dict(item.top[:rivals]) for item in reply.logprobs],
        "text_offset": _offsets(reply.logprobs),
    }


def _token(item: TokenLogprob, rivals: int) -> dict[str, Any]:
    rest = [_entry(token, logprob) for token, logprob in item.top[:rivals]]
    return {**_entry(item.token, item.logprob), "top_logprobs": rest}


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}


def _offsets(tokens: Sequence[TokenLogprob]) -> list[int]:
    """Return where each token begins, in characters."""
    offsets, at = [], 0
    for item in tokens:
        offsets.append(at)
        at += len(item.token)
    return offsets
