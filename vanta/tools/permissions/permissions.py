"""Permissions: whether a call may run, must be approved by a person, or is refused.

Rules are evaluated in this order, and the first that covers the call decides: deny, ask, allow, and
the mode for what no rule names. What is not denied asks if the turn is private and the tool is not,
and, if so configured, if it has an effect and follows a result that others may have written. What
asks is answered by a stored approval (see `approvals` beside this file), a handler or a person;
without any of them it is denied.

Invariant: a decision comes from the tool, the arguments and typed state of the turn, and never from
what a model or a result says about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from vanta.errors import UsageError, did_you_mean
from vanta.tools.permissions.call_patterns import CallPattern
from vanta.tools.registry import OfferedTool

Mode = Literal["ask", "allow", "deny", "read"]
"""What happens to a call that no rule names. `read`: read calls run, others ask."""

PermissionVerdict = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call may run.

    :param verdict: `allow`, `ask` or `deny`.
    :param rule: the rule that decided, as messages name it.
    :param only_this_call: for `ask`: whether nothing but an approval of this very call counts, so
        that one for a session or for good does not. True unless the mode alone asks.
    """

    verdict: PermissionVerdict
    rule: str
    only_this_call: bool = False


QUESTION = Decision("ask", "the model's own question", only_this_call=True)
"""The decision about a call that is a question to the person: no rule need allow it."""

REPEATS_WITHHELD = Decision(
    "ask", "it may repeat a call of a private turn that was cut off", only_this_call=True
)
"""The decision about a call that was made before in a turn whose text is withheld."""


@dataclass(frozen=True, slots=True)
class ToolOutlook:
    """Whether calls of a tool may run, as far as that is known without their arguments.

    :param tool: the tool with its toolset, such as `files.write`.
    :param decision: what the rules that look at no argument say.
    :param depends: whether a rule of this tool looks at arguments.
    """

    tool: str
    decision: Decision
    depends: bool


class Permissions:
    """The rules of a runtime for tool calls.

    :param mode: what happens to a call that no rule names.
    :param allow: rules whose calls run.
    :param deny: rules whose calls are refused, whatever other rules say.
    :param ask: rules whose calls need an approval each time.
    :param untrusted: whether calls with an effect need an approval after a result that others may
        have written: `ask` or `allow`.
    :raises UsageError: if a rule or a word is not one.
    """

    def __init__(
        self,
        mode: str = "ask",
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
        ask: Iterable[str] = (),
        untrusted: str = "allow",
    ) -> None:
        _require_word("mode", mode, get_args(Mode))
        _require_word("untrusted", untrusted, ("ask", "allow"))
        self._mode = cast("Mode", mode)
        self._untrusted = untrusted
        self._allow = _parsed("allow", allow)
        self._deny = _parsed("deny", deny)
        self._ask = _parsed("ask", ask)

    def decide(
        self,
        offered: OfferedTool,
        arguments: Mapping[str, Any],
        *,
        private_turn: bool,
        after_untrusted: bool,
    ) -> Decision:
        """Decide about one call.

        :param offered: the tool as the turn offers it.
        :param arguments: the arguments, valid under the tool's schema.
        :param private_turn: whether the turn is private or was shown private text.
        :param after_untrusted: whether the turn was shown a result that others may have written.
        :returns: the decision; it names the first rule that covers the call.
        """
        tool = offered.tool
        decision = self._by_rules(offered, arguments)
        if decision.verdict == "deny":
            return decision
        if private_turn and not tool.private:
            return Decision("ask", _privacy(offered), only_this_call=True)
        if after_untrusted and self._untrusted == "ask" and tool.effect != "read":
            rule = "tools.untrusted 'ask', after a result that others may have written"
            return Decision("ask", rule, only_this_call=True)
        return decision

    def outlook(self, offered: OfferedTool, *, private_turn: bool) -> ToolOutlook:
        """Return whether calls of a tool may run.

        :param offered: the tool as it is offered.
        :param private_turn: whether the turn is private.
        """
        decision = self.decide(offered, {}, private_turn=private_turn, after_untrusted=False)
        if offered.tool.asks_person and decision.verdict != "deny":
            decision = QUESTION
        rules = [rule for rule in (*self._deny, *self._ask, *self._allow) if rule.arguments]
        named = (replace(rule, arguments=()) for rule in rules)
        depends = any(rule.restricts(offered, {}) for rule in named)
        return ToolOutlook(offered.identity, decision, depends)

    def _by_rules(self, offered: OfferedTool, arguments: Mapping[str, Any]) -> Decision:
        for pattern in self._deny:
            if pattern.restricts(offered, arguments):
                return Decision("deny", f"tools.deny {pattern.text!r}")
        for pattern in self._ask:
            if pattern.restricts(offered, arguments):
                return Decision("ask", f"tools.ask {pattern.text!r}", only_this_call=True)
        for pattern in self._allow:
            if pattern.allows(offered, arguments):
                return Decision("allow", f"tools.allow {pattern.text!r}")
        rule = f"tools.mode {self._mode!r}"
        if self._mode == "read":
            return Decision("allow" if offered.tool.effect == "read" else "ask", rule)
        return Decision(self._mode, rule)


def _privacy(offered: OfferedTool) -> str:
    return (
        f"the privacy of the turn: {offered.identity} may send the call's "
        "arguments off this machine"
    )


def _parsed(key: str, rules: Iterable[str]) -> tuple[CallPattern, ...]:
    if isinstance(rules, str):
        raise UsageError(f"tools.{key} is a list of rules, not {rules!r}. Write [{rules!r}].")
    try:
        return tuple(CallPattern.parse(rule) for rule in rules)
    except UsageError as error:
        raise UsageError(f"tools.{key}: {error}") from None


def _require_word(key: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise UsageError(f"tools.{key} cannot be {word!r}. {did_you_mean(str(word), known)}")
