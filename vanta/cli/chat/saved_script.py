"""Writes a script of a conversation that was had, for `vanta chat --save`.

Invariant: what is written loads as a script, and repeats what was said to the letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from vanta.events import Reply

_UNWRITABLE = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")


def script_of(name: str, turns: Sequence[tuple[str, Reply]], *, private: bool = False) -> str:
    """The script, in YAML, of a conversation: what was said, and of each reply its track and that
    it may be as long as it was; what a reply must say is for a person to choose among its words.
    """
    lines = [f"name: {json.dumps(name, ensure_ascii=False)}"]
    lines += ["private: true"] if private else []
    lines += ["turns:"]
    for say, reply in turns:
        lines.append(f"  - say: {_scalar(say)}")
        lines += [f"    # {line}" for line in _commented(reply.text)]
        lines += ["    expect:", f"      track: {json.dumps(reply.track)}"]
        if reply.usage:
            lines.append(f"      max_tokens: {2 * max(1, reply.usage.output_tokens)}")
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNWRITABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def _commented(text: str) -> list[str]:
    return [re.sub("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]", "?", line) for line in text.splitlines()]
