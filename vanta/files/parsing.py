"""Parse text into values. Every failure of a parser is a ValueError with a reason.

The parsers of the standard library raise RecursionError for deep nesting and MemoryError for huge
values. Invariant: those never leave this module.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")

_TOO_DEEP = "it is nested too deeply"
_TOO_LARGE = "it needs more memory than there is"


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    :param text: the text, or its bytes in UTF-8, UTF-16 or UTF-32.
    :raises ValueError: if it is not JSON, is nested too deeply or has a number of too many digits.
    """
    return _parsed(json.loads, text)


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    :param text: the text.
    :raises ValueError: if it is not TOML (a `tomllib.TOMLDecodeError`, which states the place), is
        nested too deeply or has a number of too many digits.
    """
    return _parsed(tomllib.loads, text)


def _parsed(parser: Callable[[Any], Value], text: Any) -> Value:
    try:
        return parser(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise
    except ValueError as error:
        # The interpreter's limit on digits, whose message advises to lift it.
        raise ValueError(str(error).partition(";")[0]) from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except MemoryError:
        raise ValueError(_TOO_LARGE) from None
