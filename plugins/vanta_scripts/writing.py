"""Writes a first script to begin with. Invariant: it loads."""

from __future__ import annotations

import json

_MODELINE = "# An editor that knows JSON Schema completes it: vanta scripts schema > script.json\n"
_NEW = """\
# Run it with: vanta run {file}
{modeline}name: {name}
description: What this conversation has to show.
tags: [smoke]
sampling:
  temperature: 0
turns:
  - say: Hello!
    expect:
      contains: Hello
      max_seconds: 60
  - say: What did I say first?
    expect:
      not_contains: "I don't know"
"""


def new_script(name: str, file: str) -> str:
    """A script to begin with, in YAML."""
    return _NEW.format(name=json.dumps(name), file=file, modeline=_MODELINE)
