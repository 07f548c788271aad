"""Form: what can be wrong with an answer before anybody asks how sure it is.

An answer that was to be JSON has to be valid under its schema; one to a question has to be written
in the question's script (a small model that drifts into another language is a common failure),
unless the question asks for another language. Invariant: free and deterministic; scripts are told
apart by Unicode's names, so languages that share a script are not.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Any

_FEW = 12
"""Letters below which a text says too little about its script."""
_ASKS_FOR_ANOTHER = re.compile(
    r"translat|traduc|übersetz|перевед|翻译|翻訳|번역|\b(?:in|into|auf|en)\s+"
    r"(?:english|arabic|chinese|greek|hebrew|hindi|japanese|korean|russian|thai|ukrainian)",
    re.IGNORECASE,
)


def not_under_schema(text: str, schema: Mapping[str, Any] | None) -> str | None:
    """Why `text` is not the JSON that was asked for, None if it is or none was asked for.

    Without the library `jsonschema` (extra `schema`) only that it is JSON is looked at.
    """
    if schema is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"not JSON: {error}"
    if importlib.util.find_spec("jsonschema") is None:
        return None
    import jsonschema

    try:
        jsonschema.validate(value, dict(schema))
    except jsonschema.ValidationError as error:
        return f"not valid under its schema: {error.message[:120]}"
    except jsonschema.SchemaError:
        return None
    return None


def in_another_script(text: str, question: str) -> str | None:
    """Why `text` is in another script than `question`, None if it is not or may be."""
    asked, answered = _script(question), _script(text)
    if asked is None or answered is None or asked == answered:
        return None
    if _ASKS_FOR_ANOTHER.search(question):
        return None
    return f"written in {answered.title()}, not in {asked.title()}"


def _script(text: str) -> str | None:
    """The script of most letters, None where there are few letters or no clear majority."""
    scripts = Counter(_script_of(letter) for letter in text[:2000] if letter.isalpha())
    if sum(scripts.values()) < _FEW:
        return None
    script, count = scripts.most_common(1)[0]
    return script if count > 0.6 * sum(scripts.values()) else None


@functools.lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    """LATIN, CYRILLIC, CJK...: the first word of its name; Japanese and Chinese are one."""
    word = unicodedata.name(letter, "?").split()[0].partition("-")[0]
    return "CJK" if word in {"HIRAGANA", "KATAKANA"} else word
