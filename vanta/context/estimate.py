"""How many tokens a text takes where its tokenizer is out of reach: an estimate, on the high side.

An engine that has a tokenizer counts with it; this is for all others. Every tokenizer in use cuts
text into pieces by class of character before it merges, and so does the rule here; a class is
priced so that ordinary text of it costs no less than with the vocabularies of today (o200k,
Llama 3, Qwen; for ASCII also small English ones):

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

Invariant: pure, linear, no table on disk, no network; a text never costs less than its beginning,
and no more than its bytes and one. `vanta.context.estimate_calibration` learns what it is wrong by.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vanta.engine import TokenCount
from vanta.messages import Message

PER_MESSAGE = 5
"""Tokens that a chat format puts around a message: OpenAI's takes 3 or 4, ChatML 5."""

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
    """The tokens of `text`, estimated on the high side; 0 for none."""
    if not text:
        return 0
    pieces = 1 + len(_PIECE.findall(text)) + sum(map(_unmerged, _CODED.findall(text)))
    if text.isascii():
        return pieces
    three, four = len(_THREE_BYTES.findall(text)), len(_FOUR_BYTES.findall(text))
    return pieces + three + 2 * four


def _unmerged(run: str) -> int:
    """What a run of letters and digits costs beyond its pieces, if it is a code; never more than
    makes a token a character."""
    if not _MIXED.match(run):
        return 0
    return min(len(run) // 4, len(run) - len(_PIECE.findall(run)))


def estimate_tokens(messages: Sequence[Message]) -> TokenCount:
    """The tokens of `messages` as a prompt, chat format included: an estimate on the high side."""
    return TokenCount(PER_REPLY + sum(map(_estimate_message, messages)), exact=False)


def _estimate_message(message: Message) -> int:
    calls = sum(
        PER_CALL + estimate_text(call.id) + estimate_text(call.name) + estimate_text(call.arguments)
        for call in message.tool_calls
    )
    answered = estimate_text(message.tool_call_id or "")
    return PER_MESSAGE + estimate_text(message.content) + answered + calls
