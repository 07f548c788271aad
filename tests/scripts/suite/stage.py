"""What the scripts of this folder run on: a local engine that knows a little, and no api."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import vanta
from vanta.engine import GenerationRequest
from vanta.errors import ErrorKind
from vanta.runtime import Opening
from vanta.testing import Fail, ScriptedEngine, Step, scripted_plugin

_coin = itertools.cycle(["heads", "tails"])
_SAYS: dict[str, list[Step | str]] = {
    "What is the capital of France?": ["The capital of France is Paris."],
    "Count to five.": ["one two three four five"],
    "Paris, as JSON.": ['{"city": "Paris", "population": 2100000}'],
    "Break down.": [Fail(ErrorKind.AUTH)],
    "Break down in the middle.": ["It began", Fail(ErrorKind.AUTH)],
    "Refuse to answer.": ["I'm sorry, I cannot help with that."],
}


def opening(folder: Path) -> Callable[[], Opening]:
    """What opens a runtime whose conversations are kept in `folder`."""
    config = {
        "data_dir": str(folder),
        "policy": "local",
        "stall_timeout_s": 0.3,
        "retries": 0,
        "tracks": {
            "local": {"engine": "scripted", "model": "knows-a-little", "private": True},
            "api": {
                "engine": "openai",
                "model": "stand-in",
                "input_usd_per_mtok": 1.0,
                "output_usd_per_mtok": 100.0,
            },
        },
    }

    def open_() -> Opening:
        plugin = scripted_plugin(local=ScriptedEngine(reply=_reply))
        return vanta.open(config, plugins=[plugin])

    return open_


def _reply(request: GenerationRequest) -> list[Step | str]:
    asked = request.messages[-1].content
    if asked.endswith("Yes or no?"):
        return ["yes" if "name Paris" in asked else "no"]
    if asked in _SAYS:
        return _SAYS[asked]
    match asked:
        case "What is my name?":
            return [_name(request)]
        case "Who are you?":
            return [request.messages[0].content]
        case "Toss a coin.":
            return [next(_coin)]
    return ["Nice to meet you."] if asked.startswith("My name is") else [f"You said: {asked}"]


def _name(request: GenerationRequest) -> str:
    for message in reversed(request.messages):
        found = re.match(r"My name is (\w+)", message.content)
        if found:
            return f"Your name is {found[1]}."
    return "I do not know your name."
