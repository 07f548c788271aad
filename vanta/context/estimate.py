"""An estimate of token counts, on the high side, for engines whose tokenizer is out of reach.

Every tokenizer in use cuts text into pieces by class of character before it merges, and so does the
rule here. The price of a class is such that English, code and Chinese cost no less than with
today's vocabularies (o200k, Llama 3, Qwen). Other languages in Latin letters can take more (Polish
and Finnish a fifth, Zulu a third), as can scripts that are rare in vocabularies (Armenian, Oriya):
`vanta.context.token_families` has weights that cover those, but do not grow with every character.

    lower case word, capitalised or not      a token for 4 letters
    upper case                               a token for 2
    digit                                    a token each (some vocabularies join three)
    one space                                nothing before a word or sign, a token before a digit
    more white space                         a token for 8 spaces, 2 tabs, or a line break
    other ASCII                              a token each
    a run of 24 or more letters, digits, +/= a token for 4 more (base64, keys, hashes with
    with both cases and digits               capitals: random letters do not merge)
    other letters of two bytes in UTF-8      a token each (accents, Greek, Cyrillic, Arabic...)
    three bytes (CJK, Hangul, Thai...)       2 tokens each
    four bytes (emoji, rare scripts)         3 tokens each

`vanta.context.estimate_calibration` learns its errors from what a server counts.

Invariant: pure, linear, without a table on disk or network. A text never costs less than its
beginning, and never more than its bytes plus one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from vanta.context.images import image_tokens
from vanta.engine import GenerationRequest, TokenCount
from vanta.messages import Message

SLICE_CHARACTERS = 65_536
"""A longer text is estimated in slices of this length."""

PER_MESSAGE = 5
"""Tokens that a chat format puts around a message: 3 or 4 for OpenAI, 5 for ChatML."""

PER_REPLY = 3
"""Tokens that open the reply."""

PER_CALL = 8
"""Tokens that a chat format puts around a tool call."""

_PIECE = re.compile(
    r"[A-Z]?[a-z]{1,4}|[A-Z]{1,2}|[0-9]"
    r"| (?=[0-9])| {2,8}|\t{1,2}|\r?\n"
    r"|[^A-Za-z0-9 \t\n]"
)
_CODED = re.compile(r"[A-Za-z0-9+/=]{24,}")
_MIXED = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])")
_THREE_BYTES = re.compile("[\u0800-\uffff]")
_FOUR_BYTES = re.compile("[\U00010000-\U0010ffff]")


def estimate_text(text: str) -> int:
    """Estimate the tokens of a text, on the high side.

    :param text: any text.
    :returns: the number of tokens, 0 for an empty text.
    """
    if len(text) > SLICE_CHARACTERS:  # a single search would hold the interpreter's lock for long
        starts = range(0, len(text), SLICE_CHARACTERS)
        return 1 + sum(estimate_text(text[at : at + SLICE_CHARACTERS]) - 1 for at in starts)
    if not text:
        return 0
    pieces = 1 + len(_PIECE.findall(text)) + sum(map(_unmerged, _CODED.findall(text)))
    if text.isascii():
        return pieces
    three, four = len(_THREE_BYTES.findall(text)), len(_FOUR_BYTES.findall(text))
    return pieces + three + 2 * four


def _unmerged(run: str) -> int:
    """Return what a run of letters and digits costs beyond its pieces if it is a code.

    Never more than makes a token per character.
    """
    if not _MIXED.match(run):
        return 0
    return min(len(run) // 4, len(run) - len(_PIECE.findall(run)))


def estimate_tokens(messages: Sequence[Message]) -> TokenCount:
    """Estimate the tokens of a prompt with its chat format, on the high side.

    :param messages: the prompt.
    :returns: the count, marked as inexact.
    """
    return TokenCount(PER_REPLY + sum(map(_estimate_message, messages)), exact=False)


def estimate_extras(request: GenerationRequest) -> int:
    """Estimate the tokens of a request beside its messages: tools, a schema and a prefix.

    :param request: any request.
    :returns: the number of tokens, on the high side.
    """
    tokens = estimate_text(request.prefix)
    for tool in request.tools:
        tokens += estimate_text(tool.name + tool.description + json.dumps(dict(tool.parameters)))
    if request.sampling.json_schema is not None:
        tokens += estimate_text(json.dumps(dict(request.sampling.json_schema)))
    return tokens


def _estimate_message(message: Message) -> int:
    calls = sum(
        PER_CALL + estimate_text(call.id) + estimate_text(call.name) + estimate_text(call.arguments)
        for call in message.tool_calls
    )
    answered = estimate_text(message.tool_call_id or "")
    texts = estimate_text(message.content) + answered
    return PER_MESSAGE + texts + calls + image_tokens((message,))
