"""Expectations on calls of tools: `tool_called`, `tool_result`, `denied`, `rounds`.

Invariant: a call counts if the track that answered asked for it, whether it then ran, was denied or
is only part of the reply. A tool is named as the model sees it or with its toolset. Calls match in
any order; arguments that the script does not name are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from vanta import CallFinished, CallRequested, CallTrace, CheckedTurn, Event, Expectation, Failure
from vanta.files import parse_json
from vanta_scripts.checks.replies import unmatched, valid_pattern
from vanta_scripts.checks.values import ONE_OR_MANY, Text, Texts, as_tuple, excerpt, listed

_LONGEST_SHOWN = 300


@dataclass(frozen=True, slots=True)
class SeenCall:
    """One call of a turn.

    :param tool: the tool's name, as the model sees it.
    :param arguments: the arguments, as the model wrote them.
    :param identity: its name with its toolset's; "" for a call that no tool has.
    :param state: how it ended, as in `CallFinished`; "asked" for a call that is part of the reply.
    :param text: the result that the model read; "" for none.
    :param rule: the rule that decided.
    :param took_s: seconds that it ran.
    """

    tool: str
    arguments: str
    identity: str = ""
    state: str = "asked"
    text: str = ""
    rule: str = ""
    took_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        names = ("tool", "arguments", "identity", "state", "text", "rule", "took_s")
        return {name: getattr(self, name) for name in names}

    def describe(self) -> str:
        """Return the call in one line."""
        return f"{self.identity or self.tool}({_cut(self.arguments)}) {self.state}"


def calls_of(
    events: Iterable[Event], traces: Sequence[CallTrace] = (), asked: Iterable[Any] = ()
) -> tuple[SeenCall, ...]:
    """Return the calls of a turn, in order.

    :param events: the turn's events.
    :param traces: the calls in the turn's trace, for names and rules.
    :param asked: the calls that are part of the reply.
    """
    requests = [event for event in events if isinstance(event, CallRequested)]
    ends = [event for event in events if isinstance(event, CallFinished)]
    by_place = {(event.key, event.call_id): event for event in ends}
    known = {trace.key: trace for trace in traces}
    calls = []
    for request in requests:
        end, trace = by_place.get((request.key, request.call_id)), known.get(request.key)
        calls.append(
            SeenCall(
                request.tool,
                request.arguments,
                f"{trace.toolset}.{trace.tool}" if trace and trace.toolset else "",
                end.state if end else "cancelled",
                end.text if end else "",
                trace.rule if trace else "",
                end.took_s if end else 0.0,
            )
        )
    done = {request.call_id for request in requests}
    rest = [call for call in asked if not call.id or call.id not in done]
    return (*calls, *(SeenCall(call.name, call.arguments) for call in rest))


class WantedCall(BaseModel):
    """A tool's name, the arguments that must be present with these values, and how many times.

    `matches` has arguments whose text a pattern must match.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Text
    arguments: dict[str, Any] = {}
    matches: dict[str, Annotated[Text, AfterValidator(valid_pattern)]] = {}
    times: Annotated[int, Field(ge=1)] | None = None


def _as_calls(value: object) -> Any:
    return [{"name": call} if isinstance(call, str) else call for call in as_tuple(value)]


_CallOrName = Text | WantedCall
_WantedCalls = Annotated[
    list[WantedCall],
    BeforeValidator(_as_calls, json_schema_input_type=_CallOrName | list[_CallOrName]),
    Field(min_length=1),
]


class WantedResult(BaseModel):
    """Text that the result of a call contains, as the model read it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    contains: Annotated[tuple[Text, ...], ONE_OR_MANY] = ()
    name: Text | None = None
    state: Text | None = None


def _as_results(value: object) -> Any:
    return [{"contains": item} if isinstance(item, str) else item for item in as_tuple(value)]


_ResultOrText = Text | WantedResult
_WantedResults = Annotated[
    list[WantedResult],
    BeforeValidator(_as_results, json_schema_input_type=_ResultOrText | list[_ResultOrText]),
    Field(min_length=1),
]


def _seen_calls(seen: CheckedTurn) -> tuple[SeenCall, ...]:
    return calls_of(seen.events, seen.reply.trace.calls, seen.reply.tool_calls)


async def _calls_tools(wanted: list[WantedCall], seen: CheckedTurn) -> Failure | None:
    calls = _seen_calls(seen)
    missing = []
    for want in wanted:
        count = sum([await _fits(call, want) for call in calls])
        if (count != want.times) if want.times else not count:
            missing.append(_shown(want))
    if not missing:
        return None
    no_call = f"no call, but the reply {excerpt(seen.reply.text)}"
    actual = ", ".join(f"{call.tool}({call.arguments})" for call in calls)
    return Failure("tool_called", f"a call of {', '.join(missing)}", actual or no_call)


async def _fits(call: SeenCall, wanted: WantedCall) -> bool:
    if not _is_named(call, wanted.name):
        return False
    given = _arguments(call)
    if not all(name in given and given[name] == value for name, value in wanted.arguments.items()):
        return False
    for name, pattern in wanted.matches.items():
        value = given.get(name)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if name not in given or await unmatched([pattern], text):
            return False
    return True


def _is_named(call: SeenCall, name: str) -> bool:
    return name in (call.tool, call.identity)


def _arguments(call: SeenCall) -> Mapping[str, Any]:
    try:
        given = parse_json(call.arguments or "{}")
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}


def _shown(want: WantedCall) -> str:
    parts = [f"with {json.dumps(want.arguments, ensure_ascii=False)}"] if want.arguments else []
    parts += [f"{name} matching {pattern!r}" for name, pattern in want.matches.items()]
    parts += [f"{want.times} times"] if want.times else []
    return " ".join([want.name, *parts])


def _has_results(wanted: list[WantedResult], seen: CheckedTurn) -> Failure | None:
    calls = [call for call in _seen_calls(seen) if call.state != "asked"]
    missing = [want for want in wanted if not any(_has_result(call, want) for call in calls)]
    if not missing:
        return None
    want = missing[0]
    parts = [f"of {want.name}"] if want.name else []
    parts += [f"that contains {listed(want.contains, 'and')}"] if want.contains else []
    parts += [f"in the state {want.state!r}"] if want.state else []
    lines = tuple(f"{call.describe()}: {_cut(_flat(call.text))}" for call in calls)
    actual = f"{len(calls)} other results" if calls else "no call that ran"
    return Failure("tool_result", " ".join(["a result", *parts]), actual, lines)


def _has_result(call: SeenCall, want: WantedResult) -> bool:
    return (
        (want.name is None or _is_named(call, want.name))
        and (want.state is None or call.state == want.state)
        and all(part in call.text for part in want.contains)
    )


def _are_denied(wanted: tuple[str, ...], seen: CheckedTurn) -> Failure | None:
    calls = _seen_calls(seen)
    denied = [call for call in calls if call.state == "denied"]
    missing = [name for name in wanted if not any(_is_named(call, name) for call in denied)]
    if not missing:
        return None
    actual = ", ".join(call.describe() for call in calls) or "no call"
    return Failure("denied", f"a denied call of {listed(missing, 'and')}", actual)


def _has_rounds(wanted: int, seen: CheckedTurn) -> Failure | None:
    count = seen.reply.trace.rounds
    if count == wanted:
        return None
    calls = ", ".join(call.describe() for call in _seen_calls(seen))
    return Failure("rounds", f"a turn of {wanted} rounds", f"{count}: {calls or 'no call'}")


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


CALL_EXPECTATIONS = (
    Expectation("tool_called", "a tool that is called, or several", _WantedCalls, _calls_tools),
    Expectation(
        "tool_result", "text that a call's result contains, or several", _WantedResults,
        _has_results,
    ),
    Expectation("denied", "a tool of which a call is denied, or several", Texts, _are_denied),
    Expectation(
        "rounds", "the number of the turn's rounds", Annotated[int, Field(ge=1)], _has_rounds
    ),
)  # fmt: skip
