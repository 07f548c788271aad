"""What the file of a project may set: one rule for every key of the configuration.

A rule merges the value of a lower-trust layer into the one above which it stands. Until a person
has trusted a project, its file may tighten and set harmless keys, and all its other keys are
ignored. In a trusted project every key counts, except that what the user's own file limits can
still only be tightened.

Without trust a file tightens only as far as vanta stays of use: what could let every turn fail has
a least value or needs trust. A trusted project may tighten as far as it likes.

Invariant: every key of the schema has exactly one rule with a reason; a test names the keys that
have none. No rule returns a value that allows more than both of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vanta.config.keys import Key

Merge = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class KeyRule:
    """The rule of one key.

    :param pattern: the key; `*` stands for the name of a track or a policy. Everything below it
        has the same rule.
    :param effect: what the file of an untrusted project can do with the key.
    :param reason: why, in words for the documentation.
    :param merge: for a key that can only be tightened: returns the stricter of the value above
        and the project's; a value of a wrong type is returned as it is, and refused later.
    :param least: the smallest number that counts without trust, since a smaller one lets turns
        fail; None if every number lets them work.
    """

    pattern: Key
    effect: str
    reason: str
    merge: Merge | None = None
    least: float | None = None

    @property
    def needs_trust(self) -> bool:
        """Whether the key is ignored in the file of an untrusted project."""
        return self.effect == NEEDS_TRUST


NEEDS_TRUST = "ignored"
HARMLESS = "counts"


def rule_of(key: Key) -> KeyRule | None:
    """Return the rule of a key; None for a key that no rule names."""
    named = (key[0], "*", *key[2:]) if len(key) > 1 else key
    for length in range(1, _LONGEST_PATTERN + 1):
        rule = _BY_PATTERN.get(key[:length]) or _BY_PATTERN.get(named[:length])
        if rule is not None:
            return rule
    return None


def _smaller(above: Any, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    limited = isinstance(above, int | float)
    return above if limited and not value < above else value


def _both(above: Any, value: Any) -> Any:
    return value and above is not False if isinstance(value, bool) else value


def _either(above: Any, value: Any) -> Any:
    return value or above is True if isinstance(value, bool) else value


def _union(above: Any, value: Any) -> Any:
    if not isinstance(value, list) or not isinstance(above, list | tuple | None):
        return value
    return [*(above or ()), *(item for item in value if item not in (above or ()))]


def _first_of(order: Sequence[str]) -> Merge:
    """Return a merge that chooses the value that stands first in `order`."""

    def choose(above: Any, value: Any) -> Any:
        if value not in order or above not in order:
            return value
        return min(above, value, key=order.index)

    return choose


def _rule(key: str, reason: str, effect: str = NEEDS_TRUST, merge: Merge | None = None) -> KeyRule:
    return KeyRule(tuple(key.split(".")), effect, reason, merge)


def _lower(key: str, reason: str, least: float | None = None) -> KeyRule:
    effect = "can be lowered" if least is None else f"can be lowered to {least:g}"
    return KeyRule(tuple(key.split(".")), effect, reason, _smaller, least)


def _off(key: str, reason: str) -> KeyRule:
    return _rule(key, reason, "can be set to false", _both)


_QUALITY = "It can ruin the answers of a track, so that another one is needed."
_SENDS = "It decides where text and keys are sent."
_CAPPED = (
    "A lower cap spends less. Counts beside a cap of yours; a first one refuses more than money."
)
_ELSEWHERE = "It counts what was spent in other folders, so that nothing may be left."
_LEAVES = "It can make another track answer, which may be a paid one or leave the machine."

RULES: tuple[KeyRule, ...] = (
    _rule("policy", _LEAVES),
    _lower("deadline_s", "A shorter turn costs less; a very short one has no reply.", 15),
    _rule("stall_timeout_s", _LEAVES),
    _lower("retries", "Fewer retries cost less."),
    _rule("breaker.failures", _LEAVES),
    _rule("breaker.cooldown_s", _LEAVES),
    _rule("privacy.detect", "More detectors make more turns private.", "can be extended", _union),
    _rule("companions", "Background work costs money and reads conversations."),
    _rule("system", "It chooses the instructions of the model."),
    _rule("variables", "They stand in the instructions of the model."),
    _rule("data_dir", "vanta writes conversations there, and reads templates and models."),
    _rule("store_url", "vanta writes conversations there, and the URL holds a password."),
    _off("telemetry", "Less is reported."),
    _rule("plugins.allow", "A plugin is code that runs."),
    _rule("plugins.strict", "A failing plugin ends the start.", merge=_either),
    _lower("budget.turn_usd", _CAPPED, 0.05),
    _lower("budget.session_usd", _CAPPED, 0.5),
    _rule("budget.user_usd", _ELSEWHERE, merge=_smaller),
    _rule("budget.day_usd", _ELSEWHERE, merge=_smaller),
    _rule(
        "budget.unpriced",
        "A model without a known price is refused or asked about under a cap.",
        merge=_first_of(("refuse", "ask", "free")),
    ),
    _off("memory.enabled", "Nothing is recalled then."),
    _lower("memory.share", "Fewer memories are shown."),
    _rule("memory.min_relevance", "A lower limit shows more of what is remembered."),
    _rule(
        "memory.scope",
        "A session's own memories are fewer than a user's.",
        "can be made stricter",
        _first_of(("session", "user")),
    ),
    _lower("memory.recall_timeout_s", "A shorter search shows no more."),
    _rule("memory.embedder", _SENDS),
    _rule("memory.embedder_model", _SENDS),
    _rule("memory.embedder_options", _SENDS),
    _rule("memory.index", _SENDS),
    _rule("memory.index_options", _SENDS),
    _rule("tools.use", "A tool acts on this machine, or sends text elsewhere."),
    _rule(
        "tools.mode",
        "A stricter mode runs fewer calls.",
        "can be made stricter",
        _first_of(("deny", "ask", "read", "allow")),
    ),
    _rule("tools.allow", "Calls would run that a person is not asked about."),
    _rule("tools.deny", "Fewer calls run.", "can be extended", _union),
    _rule("tools.ask", "A person is asked about more calls.", "can be extended", _union),
    _rule(
        "tools.untrusted",
        "A person is asked about more calls.",
        "can be made stricter",
        _first_of(("ask", "allow")),
    ),
    _lower("tools.max_rounds", "Fewer rounds cost less; the turn still has a reply.", 1),
    _lower("tools.max_calls", "Fewer calls run.", 1),
    _lower("tools.max_result_tokens", "Less of a result is shown at once.", 256),
    _lower("tools.share", "Fewer tools are shown; `find_tools` shows the others."),
    _lower("tools.max_schema_tokens", "Fewer tools are shown; `find_tools` shows the others."),
    _rule("tools.approvals_expire_s", "It drops questions to you, or keeps them for longer."),
    _rule("tools.rounds", "A race in each round costs more, and another track may answer."),
    _rule("tools.options", "They name servers, keys, folders and files."),
    _rule("mcp.servers", "A server is a program that runs, or receives text and keys."),
    _rule(
        "tracks.*.enabled",
        "The other tracks may be paid, leave the machine, or be off.",
        merge=_both,
    ),
    _rule("tracks.*.engine", _SENDS),
    _rule("tracks.*.model", "It decides the price, or the file that is loaded."),
    _rule("tracks.*.window", _LEAVES),
    _rule(
        "tracks.*.reply_reserve",
        "A lower value cuts replies off, and allows longer prompts.",
        merge=_smaller,
    ),
    _rule(
        "tracks.*.private",
        "It decides whether a track sees private turns, or none does.",
        merge=_both,
    ),
    _rule("tracks.*.input_usd_per_mtok", "The caps and the ledger count with it."),
    _rule("tracks.*.output_usd_per_mtok", "The caps and the ledger count with it."),
    _rule("tracks.*.sampling.max_tokens", _QUALITY, merge=_smaller),
    *(
        _rule(f"tracks.*.sampling.{name}", _QUALITY)
        for name in ("temperature", "top_p", "top_k", "min_p", "typical_p")
    ),
    _rule("tracks.*.sampling.seed", "It makes answers repeatable, and nothing else.", HARMLESS),
    *(
        _rule(f"tracks.*.sampling.{name}", "It can dictate the words of an answer.")
        for name in (
            *("repeat_penalty", "presence_penalty", "frequency_penalty", "dry_multiplier"),
            *("stop", "logit_bias", "grammar", "json_schema"),
        )
    ),
    _rule("tracks.*.sampling.logprobs", "A server computes and returns more."),
    _rule("tracks.*.options", "They name servers, keys, folders and files."),
    _rule("policies", _LEAVES),
)
"""The allow-list: what is not named here as tightening or harmless needs trust."""

_BY_PATTERN = {rule.pattern: rule for rule in RULES}
_LONGEST_PATTERN = max(map(len, _BY_PATTERN))
