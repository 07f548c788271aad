"""Turns what pydantic finds wrong into sentences: where, which key, what it should have been.

Invariant: every problem of a configuration is told at once, each on a line of its own that begins
with its source, and none of them echoes a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vanta.config import walk
from vanta.config.layers import PREFIX, Merged
from vanta.config.origin import Key, dotted
from vanta.config.secret import is_inline_key, shown
from vanta.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_KINDS = {
    bool: "true or false",
    int: "the whole number",
    float: "the number",
    str: "the text",
    list: "the list",
    tuple: "the list",
}


def refuse_inline_keys(merged: Merged) -> None:
    """Raise ConfigError if an API key stands in the configuration."""
    for key, origin in merged.origins.items():
        if key[-1] == "api_key" or _holds_a_key(key, merged.history[key][-1].value):
            raise ConfigError(
                f"{origin}: {dotted(key)} would put a key into the configuration, where it could "
                "be read. Put it into the environment variable that the engine reads "
                "(OPENAI_API_KEY for openai), or into a file that the engine's options name."
            )


def as_config_error(error: ValidationError, merged: Merged) -> ConfigError:
    """All problems of a configuration."""
    lines = dict.fromkeys(_line(one, merged) for one in error.errors(include_url=False))
    return ConfigError("\n".join(lines))


def as_options_error(
    error: ValidationError, merged: Merged, track: str, engine: str, known: Iterable[str]
) -> ConfigError:
    """All problems of a track's options, of which only its engine knows what is right."""
    lines = []
    for one in error.errors(include_url=False):
        key = ("tracks", track, "options", *map(str, one["loc"]))
        lines.append(f"{merged.origin_near(key)}: {_option(one, key, engine, known)}")
    return ConfigError("\n".join(dict.fromkeys(lines)))


def _option(one: ErrorDetails, key: Key, engine: str, known: Iterable[str]) -> str:
    if one["type"] == "extra_forbidden":
        advice = did_you_mean(key[-1], known) if len(key) == 4 else ""
        return f"engine {engine!r} has no option {key[-1]!r} ({dotted(key)}). {advice}".rstrip()
    if one["type"] == "missing":
        return f"engine {engine!r} needs the option {dotted(key)}. Set it."
    return f"{dotted(key)} {_must(one['msg'])}, not {_given(one['input'], key)}."


def _holds_a_key(key: Key, value: Any) -> bool:
    in_options = key[0] == "tracks" and key[2:3] == ("options",)
    return in_options and any(is_inline_key(part, value) for part in key[3:])


def _line(one: ErrorDetails, merged: Merged) -> str:
    key = tuple(str(part) for part in one["loc"])
    tell = _TELLERS.get(one["type"], _wrong_value)
    at = merged.last_origin(key) if one["type"] == "value_error" else merged.origin_near(key)
    return f"{at}: {tell(one, key, merged)}"


def _unknown(_one: ErrorDetails, key: Key, merged: Merged) -> str:
    advice = walk.advice(key)
    if merged.origin_near(key).kind == "environment":
        variable = PREFIX + "__".join(key).upper()
        return f"no key of vanta's is named {dotted(key)!r} ({variable}). {advice}"
    return f"no key is named {dotted(key)!r}. {advice}"


def _missing(one: ErrorDetails, key: Key, merged: Merged) -> str:
    table, name = key[:-1], key[-1]
    others = [other for other in merged.tree.get(key[0], {}) if other != key[1]]
    near = did_you_mean(key[1], others)
    typo = f" {near}" if near.startswith("Did") else ""
    return (
        f"{dotted(table)} has no {name!r}.{typo} A track needs an engine and a model, and a track "
        "that is given another engine starts anew."
    )


def _bad_name(_one: ErrorDetails, key: Key, _merged: Merged) -> str:
    if key[-1] != "[key]":
        return _wrong_value(_one, key, _merged)
    return f"{dotted(key[:-1])}: a name begins with a letter and has only letters, digits, - and _."


def _own_rule(one: ErrorDetails, key: Key, _merged: Merged) -> str:
    return f"{dotted(key)}: {one['msg'].removeprefix('Value error, ')}."


def _wrong_value(one: ErrorDetails, key: Key, _merged: Merged) -> str:
    place = _place(key)
    given = _given(one["input"], place)
    if one["type"].endswith(("_type", "_parsing", "literal_error")):
        return f"{dotted(place)} must be {walk.expected(place)}, not {given}."
    return f"{dotted(place)} {_must(one['msg'])}, not {given}."


def _place(key: Key) -> Key:
    """The key of the setting that an error is in: without list positions and union branches."""
    while walk.find(key) is None:
        key = key[:-1]
    return key


def _must(message: str) -> str:
    said = message.replace("Input should be", "must be").replace("Input should", "must")
    return said if said.startswith("must") else f"is wrong ({said})"


def _given(value: Any, key: Key) -> str:
    if isinstance(value, Mapping):
        return "a table"
    word = _KINDS.get(type(value), "")
    safe = shown(value, key[-1] if key else "")
    if isinstance(value, bool):
        return str(value).lower()
    return f"{word} {safe!r}".strip()


_TELLERS: Mapping[str, Callable[[ErrorDetails, Key, Merged], str]] = {
    "extra_forbidden": _unknown,
    "missing": _missing,
    "string_pattern_mismatch": _bad_name,
    "value_error": _own_rule,
}
