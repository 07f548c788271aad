"""The content of a message or a delta as protocols write it: a text, or a list of parts.

Invariant: reading ends, however deep the parts are nested, and raises nothing but ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_REASONING_PARTS = ("thinking", "reasoning", "summary")
_NO_TEXT_PARTS = ("reference", "redacted_thinking", "reasoning.encrypted")
_TEXT_FIELDS = ("text", "refusal", "thinking", "reasoning", "summary", "content", "value")
_DEEPEST_PART = 8


def read_content(content: object, *, strict: bool = False) -> tuple[str, str]:
    """Return the text and the reasoning in the content of a message or a delta.

    Content is a text, None, a part, or a list of texts and parts: `{"type": "text", "text": ...}`
    (OpenAI), `{"type": "thinking", "thinking": [...]}` (Mistral), `{"type": "reasoning.text", ...}`
    (OpenRouter).

    :param content: the JSON value.
    :param strict: whether a part of another type, such as an image, is refused; otherwise it is
        ignored.
    :returns: the text, and the reasoning.
    :raises ValueError: if the content is of another shape.
    """
    if isinstance(content, str):
        return content, ""
    pieces = list(_pieces(content, is_reasoning=False, strict=strict, depth=0))
    text = "".join(piece for piece, is_reasoning in pieces if not is_reasoning)
    return text, "".join(piece for piece, is_reasoning in pieces if is_reasoning)


def _pieces(
    content: object, *, is_reasoning: bool, strict: bool, depth: int
) -> Iterator[tuple[str, bool]]:
    """Yield each text in a content, and whether it is reasoning."""
    if content is None:
        return
    if isinstance(content, str):
        yield content, is_reasoning
    elif isinstance(content, Mapping) and depth < _DEEPEST_PART:
        kind = str(content.get("type") or "")
        has_text = any(name in content for name in _TEXT_FIELDS)
        if kind in _NO_TEXT_PARTS or (not has_text and not strict):
            return
        if not has_text:
            raise ValueError(f"a part of the content has the type {kind[:40]!r}, which is not text")
        inner = next((content[name] for name in _TEXT_FIELDS if content.get(name)), None)
        hidden = is_reasoning or kind.startswith(_REASONING_PARTS)
        yield from _pieces(inner, is_reasoning=hidden, strict=strict, depth=depth + 1)
    elif isinstance(content, list | tuple) and depth < _DEEPEST_PART:
        for part in content:
            yield from _pieces(part, is_reasoning=is_reasoning, strict=strict, depth=depth + 1)
    else:
        raise ValueError(f"the content is of type {type(content).__name__}, which is not text")
