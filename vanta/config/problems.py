"""Turn validation errors into sentences: the source, the key, the expected value, the next step.

Invariant: all problems of a configuration are reported at once (of very many the first ones), each
on a line that begins with its source, and no line repeats a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vanta.config import keys
from vanta.config.keys import Key, dotted, is_inline_secret
from vanta.config.layers import PREFIX, Merged
from vanta.config.mcp_file import SHARED_FILE, literal_secret
from vanta.errors import ConfigError, did_you_mean
from vanta.text import redact

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_MAX_PROBLEMS = 20
_MAX_CHARACTERS = 120
_TYPE_NAMES = {
    bool: "true or false",
    int: "the whole number",
    float: "the number",
    str: "the text",
    list: "the list",
    tuple: "the list",
}


def refuse_inline_secrets(merged: Merged) -> None:
    """Raise ConfigError if the configuration contains an API key."""
    for key, origin in merged.origins.items():
        if literal_secret(key, merged.history[key][-1].value) and origin.where != str(SHARED_FILE):
            raise ConfigError(
                f"{origin}: {dotted(key)} would store a secret in the configuration, where others "
                'could read it. Name an environment variable: "${NAME}", or "Bearer ${NAME}".'
            )
        if key[-1] == "api_key" or _holds_secret(key, merged.history[key][-1].value):
            raise ConfigError(
                f"{origin}: {dotted(key)} would store a secret in the configuration, where others "
                "could read it. Set the environment variable that the engine reads "
                "(OPENAI_API_KEY for openai), or name a key file in the engine's options."
            )


def config_error(error: ValidationError, merged: Merged) -> ConfigError:
    """Return one ConfigError with all problems of a configuration."""
    lines = [_describe(details, merged) for details in _first(error)]
    return ConfigError(_report(error, lines))


def options_error(
    error: ValidationError, merged: Merged, track: str, engine: str, known: Iterable[str]
) -> ConfigError:
    """Return one ConfigError with all problems of a track's engine options."""
    lines = []
    for details in _first(error):
        key = ("tracks", track, "options", *map(str, details["loc"]))
        problem = _describe_option(details, key, engine, known)
        lines.append(f"{merged.origin_near(key)}: {problem}")
    return ConfigError(_report(error, lines))


def _first(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False)[:_MAX_PROBLEMS]


def _report(error: ValidationError, lines: Iterable[str]) -> str:
    more = error.error_count() - _MAX_PROBLEMS
    rest = [f"and {more} more problems."] if more > 0 else []
    return "\n".join([*dict.fromkeys(lines), *rest])


def _describe_option(details: ErrorDetails, key: Key, engine: str, known: Iterable[str]) -> str:
    if details["type"] == "extra_forbidden":
        advice = did_you_mean(key[-1], known) if len(key) == 4 else ""
        return f"engine {engine!r} has no option {key[-1]!r} ({dotted(key)}). {advice}".rstrip()
    if details["type"] == "missing":
        return f"engine {engine!r} needs the option {dotted(key)}. Set it."
    return f"{dotted(key)} {_requirement(details['msg'])}, not {_given(details['input'], key)}."


def _holds_secret(key: Key, value: Any) -> bool:
    in_options = key[:2] == ("tools", "options") or (
        key[0] == "tracks" and key[2:3] == ("options",)
    )
    return in_options and any(is_inline_secret(part, value) for part in key[3:])


def _describe(details: ErrorDetails, merged: Merged) -> str:
    key = tuple(str(part) for part in details["loc"])
    describe = _DESCRIBERS.get(details["type"], _wrong_value)
    is_rule = details["type"] == "value_error"
    origin = merged.last_origin(key) if is_rule else merged.origin_near(key)
    return f"{origin}: {describe(details, key, merged)}"


def _unknown_key(_details: ErrorDetails, key: Key, merged: Merged) -> str:
    advice = keys.advice(key)
    if merged.origin_near(key).kind == "environment":
        variable = PREFIX + "__".join(key).upper()
        return f"vanta has no configuration key {dotted(key)!r} ({variable}). {advice}"
    return f"there is no configuration key {dotted(key)!r}. {advice}"


def _missing_key(_details: ErrorDetails, key: Key, merged: Merged) -> str:
    table, name = key[:-1], key[-1]
    others = [other for other in merged.tree.get(key[0], {}) if other != key[1]]
    nearest = did_you_mean(key[1], others)
    typo = f" {nearest}" if nearest.startswith("Did") else ""
    return (
        f"{dotted(table)} has no {name!r}.{typo} A track needs an engine and a model, and loses "
        "its other settings when its engine changes."
    )


def _invalid_name(details: ErrorDetails, key: Key, merged: Merged) -> str:
    if key[-1] != "[key]":
        return _wrong_value(details, key, merged)
    return (
        f"{dotted(key[:-1])}: a name must begin with a letter and contain only letters, digits, "
        "'-' and '_'."
    )


def _broken_rule(details: ErrorDetails, key: Key, _merged: Merged) -> str:
    return f"{dotted(key)}: {details['msg'].removeprefix('Value error, ')}."


def _wrong_value(details: ErrorDetails, key: Key, _merged: Merged) -> str:
    setting = _setting_of(key)
    given = _given(details["input"], setting)
    if details["type"].endswith(("_type", "_parsing", "literal_error")):
        return f"{dotted(setting)} must be {keys.expected_type(setting)}, not {given}."
    return f"{dotted(setting)} {_requirement(details['msg'])}, not {given}."


def _setting_of(key: Key) -> Key:
    """Return the setting that an error is in: its key without list positions and union branches."""
    while keys.find(key) is None:
        key = key[:-1]
    return key


def _requirement(message: str) -> str:
    sentence = message.replace("Input should be", "must be").replace("Input should", "must")
    return sentence if sentence.startswith("must") else f"is invalid ({sentence})"


def _given(value: Any, key: Key) -> str:
    if isinstance(value, Mapping):
        return "a table"
    type_name = _TYPE_NAMES.get(type(value), "")
    safe = redact(value, key[-1] if key else "")
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{type_name} {safe!r}".strip()
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


_DESCRIBERS: Mapping[str, Callable[[ErrorDetails, Key, Merged], str]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing_key,
    "string_pattern_mismatch": _invalid_name,
    "value_error": _broken_rule,
}
