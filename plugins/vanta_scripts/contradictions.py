"""What a script may not say at once, though each of it alone is right.

Invariant: pure; every finding names what to take out.
"""

from __future__ import annotations

from collections.abc import Iterator

from vanta_scripts.faults import Fault, Path
from vanta_scripts.schema import AFTER_TOKENS, ScriptForm, UpstreamForm


def contradictions(form: ScriptForm) -> list[Fault]:
    """The faults of a script whose fields are right one by one."""
    return [*_of_script(form), *_of_fixtures(form), *_of_turns(form), *_of_times(form)]


def _of_script(form: ScriptForm) -> Iterator[Fault]:
    axes = [axis for axis, values in form.matrix if values is not None]
    if form.session is not None and (form.repeat > 1 or axes):
        again = "'repeat'" if form.repeat > 1 else "'matrix'"
        problem = f"a conversation that goes on is run once. Take out 'session', or {again}."
        yield Fault(("session",), problem, at_key=True)
    if form.matrix.policy is not None and form.matrix.track is not None:
        problem = "'track' in 'matrix' leaves nothing to 'policy'. Take out one of them."
        yield Fault(("matrix", "track"), problem, at_key=True)
    if form.seed is not None and form.sampling.seed is not None:
        problem = "'seed' stands in the script and in 'sampling'. Take out one of them."
        yield Fault(("seed",), problem, at_key=True)
    yield from _of_upstream(form.upstream, ("upstream",))


def _of_fixtures(form: ScriptForm) -> Iterator[Fault]:
    goes_on = form.session is not None
    if goes_on and (form.fixtures.memories or form.fixtures.documents):
        problem = "a conversation that goes on has a memory already. Take out 'session', or these."
        yield Fault(("fixtures",), problem, at_key=True)
    known: set[str] = set()
    for index, memory in enumerate(form.fixtures.memories):
        if memory.id in known:
            problem = f"two memories have the id {memory.id!r}. Give one of them another."
            yield Fault(("fixtures", "memories", index, "id"), problem)
        known |= {memory.id} if memory.id else set()
    named: set[str] = set()
    for index, tool in enumerate(form.tools):
        if tool.name in named:
            yield Fault(("tools", index), f"two tools are named {tool.name!r}. Take out one.")
        named.add(tool.name)


def _of_turns(form: ScriptForm) -> Iterator[Fault]:
    for index, turn in enumerate(form.turns):
        at = ("turns", index)
        if turn.restart and index == 0:
            problem = "turn 1 has nothing before it that a restart could lose. Take out 'restart'."
            yield Fault((*at, "restart"), problem, at_key=True)
        yield from _of_upstream(turn.upstream, (*at, "upstream"))


def _of_times(form: ScriptForm) -> Iterator[Fault]:
    if form.session is not None:
        told: list[Path] = [("at",)] if form.at is not None else []
        told += [("turns", n, "at") for n, turn in enumerate(form.turns) if turn.at is not None]
        for place in told:
            problem = "a conversation that goes on takes place now. Take out 'session', or 'at'."
            yield Fault(place, problem, at_key=True)
        return
    last = form.begins_at
    for index, turn in enumerate(form.turns):
        if turn.at is not None and turn.at < last:
            problem = f"turn {index + 1} is said before what comes before it. Take a later time."
            yield Fault(("turns", index, "at"), problem)
        last = turn.at if turn.at is not None else last


def _of_upstream(form: UpstreamForm | None, at: Path) -> Iterator[Fault]:
    if form is None:
        return
    told = form.model_fields_set
    if "after" in told and form.fault not in AFTER_TOKENS:
        yield Fault((*at, "after"), _no_effect("after", AFTER_TOKENS), at_key=True)
    if "retry_after" in told and form.fault != "rate_limited":
        yield Fault((*at, "retry_after"), _no_effect("retry_after", ("rate_limited",)), at_key=True)
    if form.call is not None and ("text" in told or form.fault != "none"):
        other = "text" if "text" in told else "fault"
        problem = f"'call' stands in the place of {other!r}. Take out one of them."
        yield Fault((*at, "call"), problem, at_key=True)


def _no_effect(field: str, faults: tuple[str, ...]) -> str:
    return f"{field!r} has an effect only with the fault {', '.join(faults)}. Take it out."
