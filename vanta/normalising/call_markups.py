"""The notations in which models write tool calls into the text of an answer: one table.

The marks are those of the chat templates that llama.cpp is tested with
(https://github.com/ggml-org/llama.cpp/tree/master/models/templates). Invariant: the table is data;
`CallReader` applies it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from vanta.normalising.call_bodies import (
    NAME,
    Calls,
    Schemas,
    read_function,
    read_gemma,
    read_harmony,
    read_invocations,
    read_json,
    read_named,
    read_python,
    read_tagged,
)

LONGEST_HEAD = 512
"""Characters between a mark and the JSON of its call."""

_NAME = re.compile(NAME)


def _starts(*texts: str, name: str = "") -> Callable[[str], bool | None]:
    """Return a check of what follows a mark: True if it may be a call, None if that is open.

    :param texts: what a call may begin with.
    :param name: the characters that may follow a name that a call begins with; "" for no name.
    """

    def check(body: str) -> bool | None:
        bare = body.lstrip()
        if not bare:
            return None if len(body) < LONGEST_HEAD else False
        if bare.startswith(texts):
            return True
        match = _NAME.match(bare) if name else None
        if match and match.end() < len(bare):
            return bare[match.end()] in name
        return None if match or any(text.startswith(bare) for text in texts) else False

    return check


_JSON = _starts("{", "[")


@dataclass(frozen=True, slots=True)
class CallMarkup:
    """One way of writing calls into text.

    :param mark: the text that begins a call or a list of them; "" for JSON without a mark.
    :param check: returns whether what follows the mark may be a call.
    :param read: returns the calls in the text between mark and end; None if it is not a call.
    :param end: the text that ends a body which is not JSON; "" if the end of the answer does.
    :param head: a pattern of what stands between the mark and the JSON.
    :param closings: marks that are dropped after a call.
    :param repeats: whether more JSON after a call is another one.
    :param first: whether the mark counts at the beginning of the answer only.
    """

    mark: str
    check: Callable[[str], bool | None]
    read: Callable[[str, Schemas], Calls | None]
    end: str = ""
    head: re.Pattern[str] = re.compile(r"\s*(?=[{\[])")
    closings: tuple[str, ...] = ()
    repeats: bool = False
    first: bool = False


def _json_markup(mark: str, end: str, *, repeats: bool = False, first: bool = False) -> CallMarkup:
    ends = (end,) if end else ()
    return CallMarkup(mark, _JSON, read_json, end, closings=ends, repeats=repeats, first=first)


_TAG_ENDS = ("</function>", "</tool_call>", "</seed:tool_call>", "</function_call>")
_INVOKE_ENDS = (
    *("</invoke>", "</minimax:tool_call>", "</function_calls>"),
    *("</｜DSML｜invoke>", "</｜DSML｜function_calls>", "</｜DSML｜tool_calls>"),
)
_DEEPSEEK_ENDS = ("```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>")
_KIMI_ENDS = ("<|tool_call_end|>", "<|tool_calls_section_end|>")
_DEEPSEEK, _KIMI = "<｜tool▁call▁begin｜>", "<|tool_call_begin|>"
_DEEPSEEK_HEAD = re.compile(
    rf"\s*(?:{_DEEPSEEK})?\s*(?:\w*<｜tool▁sep｜>{NAME}\s*```json|{NAME}<｜tool▁sep｜>)\s*(?={{)"
)
_KIMI_HEAD = re.compile(
    rf"\s*(?:{re.escape(_KIMI)})?\s*{NAME}\s*<\|tool_call_argument_begin\|>\s*(?={{)"
)
_FUNCTION_HEAD = re.compile(rf'{NAME}"?>\s*(?={{)')
_MISTRAL_HEAD = re.compile(
    rf"\s*(?=\[\s*\{{)|\s*(?:{NAME}\s*(?:\[CALL_ID\][^\[]{{0,128}})?(?:\[ARGS\])?)?\s*(?=\{{)"
)
_HARMONY_HEAD = re.compile(
    rf"{NAME}\s*(?:<\|channel\|>\s*\w+)?\s*(?:<\|constrain\|>)?\s*\w*\s*<\|message\|>\s*(?={{)"
)
_HARMONY_MARKS = (
    "<|start|>assistant to=functions.",
    *(
        f"{start}<|channel|>{channel} to=functions."
        for start in ("", "<|start|>assistant")
        for channel in ("commentary", "analysis")
    ),
)


def _harmony(mark: str, *, first: bool = False) -> CallMarkup:
    check, ends = _starts(name=" <"), ("<|call|>", "<|end|>")
    return CallMarkup(mark, check, read_harmony, "<|call|>", _HARMONY_HEAD, ends, first=first)


def _function(mark: str) -> CallMarkup:
    check = _starts(name='">')
    return CallMarkup(mark, check, read_function, "</function>", _FUNCTION_HEAD, _TAG_ENDS)


def _invoke(mark: str, dsml: str = "") -> CallMarkup:
    if mark.endswith('"'):
        check, end = _starts(name='"'), f"</{dsml}invoke>"
    else:
        check, end = _starts(f'<{dsml}invoke name="'), f"</{mark.removeprefix('<')}"
    return CallMarkup(mark, check, read_invocations, end, re.compile("(?!)"), _INVOKE_ENDS)


def _begun(mark: str, inner: str, head: re.Pattern[str], ends: tuple[str, ...]) -> CallMarkup:
    check = _starts(name="<") if mark == inner else _starts(inner)
    return CallMarkup(mark, check, read_named, ends[-2], head, ends)


MARKUPS: tuple[CallMarkup, ...] = (
    CallMarkup(
        "<tool_call>",
        _starts("{", "[", "<function=", "<function name=", name="\n<"),
        read_tagged,
        "</tool_call>",
        closings=_TAG_ENDS,
        repeats=True,
    ),
    CallMarkup(
        "<seed:tool_call>",
        _starts("<function="),
        read_tagged,
        "</seed:tool_call>",
        closings=_TAG_ENDS,
    ),
    _function("<function="),
    _function('<function name="'),
    CallMarkup("[TOOL_CALLS]", _starts("[", "{", name="[{"), read_named, "</s>", _MISTRAL_HEAD),
    _json_markup("<|python_tag|>", "<|eom_id|>", repeats=True),
    *(_harmony(mark) for mark in _HARMONY_MARKS),
    _harmony("to=functions.", first=True),
    _harmony(" to=functions.", first=True),
    _begun("<｜tool▁calls▁begin｜>", _DEEPSEEK, _DEEPSEEK_HEAD, _DEEPSEEK_ENDS),
    _begun(_DEEPSEEK, _DEEPSEEK, _DEEPSEEK_HEAD, _DEEPSEEK_ENDS),
    _begun("<|tool_calls_section_begin|>", _KIMI, _KIMI_HEAD, _KIMI_ENDS),
    _begun(_KIMI, _KIMI, _KIMI_HEAD, _KIMI_ENDS),
    _invoke("<minimax:tool_call>"),
    _invoke("<function_calls>"),
    _invoke('<invoke name="'),
    _invoke("<｜DSML｜function_calls>", "｜DSML｜"),
    _invoke("<｜DSML｜tool_calls>", "｜DSML｜"),
    _invoke('<｜DSML｜invoke name="', "｜DSML｜"),
    _json_markup("<|START_ACTION|>", "<|END_ACTION|>"),
    _json_markup("<TOOLCALL>", "</TOOLCALL>"),
    _json_markup("<tool_calls>", "</tool_calls>"),
    _json_markup("<function_call>", "</function_call>"),
    _json_markup("<|tool_call|>", "<|/tool_call|>"),
    _json_markup("<|tools_prefix|>", "<|tools_suffix|>"),
    _json_markup("<|function_call|>", ""),
    _json_markup("<|message_sep|>\n\nfunction call<|role_sep|>", "<|message_sep|>"),
    _json_markup("<|action_start|><|plugin|>", "<|action_end|>"),
    _json_markup("functools", "", first=True),
    _json_markup(" functools", "", first=True),
    CallMarkup("Action:\n```json", _JSON, read_json, "```", closings=("```",)),
    CallMarkup(
        "<|tool_call_start|>",
        _starts("["),
        read_python,
        "<|tool_call_end|>",
        re.compile("(?!)"),
        ("<|tool_call_end|>",),
    ),
    CallMarkup(
        "<|tool_call>", _starts("call:"), read_gemma, "<tool_call|>", closings=("<tool_call|>",)
    ),
)
"""Qwen, Hermes, Granite 4, GLM; Seed; Llama 3.1, Functionary, Qwen 3 Coder; MiniCPM; Mistral;
Llama 3; gpt-oss; DeepSeek; Kimi; MiniMax; DeepSeek 3.2 and 4; Command R7B; Nemotron; Apriel;
Granite 3, Phi 4; Apertus; GigaChat; InternLM; FireFunction; Command R+; LFM2; Gemma 4."""

_PARTS = {
    "[ARGS]",
    "[CALL_ID]",
    "<｜tool▁sep｜>",
    "<|tool_call_argument_begin|>",
    '<|"|>',
    "<|plugin|>",
}
_PARTS |= {"<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "<|role_sep|>", "｜DSML｜"}
_PARTS |= {"<|action_start|>", "<|message_sep|>"}
CALL_TOKENS = frozenset(
    _PARTS | {text for item in MARKUPS for text in (item.mark, item.end, *item.closings) if text}
) - {"<|end|>", "</s>", "```"}
"""Control tokens of vocabularies that a reader must see as text."""

_FIRST_KEYS = ('"name"', '"type"', '"function"', '"tool_name"')


def _bare_check(body: str) -> bool | None:
    """Return whether JSON without a mark may be a call, by its first key."""
    bare = body.lstrip()
    key = bare[1:].lstrip()
    if not bare.startswith("{"):
        return False if bare else None
    if key.startswith(_FIRST_KEYS):
        return True
    return None if not key or any(text.startswith(key) for text in _FIRST_KEYS) else False


BARE = CallMarkup("", _bare_check, read_json, repeats=True, first=True)
"""JSON that is the whole answer, as Llama 3 writes it."""
