"""Resolves the options of a turn into its settings.

Precedence: the call, then the session, then the front matter of its system prompt, then the
configuration. Invariant: settings are frozen and complete, so that nothing that changes later
changes a running turn.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.config import Config, MemoryConfig
from vanta.context.budget import BudgetShares
from vanta.context.preparer import TurnPrompts, merge_sampling
from vanta.engine import Sampling, Tool
from vanta.errors import TemplateError, UnknownName
from vanta.memory import Memory
from vanta.messages import Image
from vanta.money import Caps, Ledger
from vanta.normalising import signatures
from vanta.privacy import Detector, search_message
from vanta.prompts import LivePrompts, RenderedPrompt, SystemPrompt, Templates
from vanta.routing import PolicyRouting
from vanta.runtime.learnt_facts import LearntFacts
from vanta.runtime.options import NOT_ISOLATED, Isolation, TurnOptions
from vanta.runtime.turns.agency import TurnTools
from vanta.runtime.turns.caller_tools import NO_CALLER_TOOLS, CallerTools
from vanta.runtime.turns.isolated_tools import isolated_agency
from vanta.runtime.turns.rounds import RoundRules
from vanta.runtime.turns.typed import OutputForm, check_sampling_beside, form_of
from vanta.scheduling.policy import LegPlan, Policy
from vanta.scheduling.race_plan import RaceSettings
from vanta.scheduling.takeover import anchor
from vanta.scheduling.track_stats import HealthRule, TrackStats
from vanta.storage import Store
from vanta.storage.learnt_board import LearntBoard
from vanta.track import Track

if TYPE_CHECKING:
    from vanta.runtime.bootstrap import Parts


_log = logging.getLogger("vanta")
UNSEARCHED_IMAGE = "the message has an image, which the detectors cannot search"
"""Why a turn with an image is private if `privacy.detect` names a detector."""

_ANOTHER_USER = "\0another user"


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """Everything that one turn runs under.

    :param race: the settings that its races obey.
    :param private: whether the turn is confined to private tracks from its beginning.
    :param private_because: why it is private although its caller did not ask for it, or None.
    :param tracks: all tracks, by name.
    :param off: why each configured track that is off is off, by name.
    :param system: the rendered system prompt.
    :param common_system: whether it is the same for all users.
    :param prompts: the other texts that vanta adds.
    :param store: where the exchange is kept.
    :param ledger: where money is reserved and settled.
    :param own_caps: caps on its spending beside those of the ledger.
    :param memory: what is recalled; None for no memory.
    :param recall: how memory is searched.
    :param recall_timeout_s: seconds that the search may take.
    :param shares: how prompts are divided.
    :param tools: the tools that may be called, and the rules for it; None for no tools.
    :param form: the type of the answer; None for an answer in words.
    :param own_tools: the tools of a caller that runs their calls itself.
    :param rounds: how rounds follow each other in a turn without tools of vanta.
    :param keeps: whether the exchange is kept in the store.
    """

    race: RaceSettings
    private: bool
    private_because: str | None
    tracks: Mapping[str, Track]
    off: Mapping[str, str]
    system: str
    common_system: bool
    prompts: TurnPrompts
    store: Store
    ledger: Ledger
    own_caps: Caps | None
    memory: Memory | None
    recall: MemoryConfig
    recall_timeout_s: float
    shares: BudgetShares
    tools: TurnTools | None = None
    form: OutputForm | None = None
    own_tools: CallerTools = NO_CALLER_TOOLS
    rounds: RoundRules = RoundRules()  # noqa: RUF009 - it is frozen
    keeps: bool = True

    @property
    def has_tools(self) -> bool:
        """Whether tracks have to be able to call tools."""
        return self.tools is not None or bool(self.own_tools.tools)


class TurnPlanner:
    """Makes the settings of the turns of one runtime.

    :param parts: the parts of the runtime.
    :param tracks: its tracks, by name.
    :param off: why each other configured track is off, by name.
    :ivar learnt: what earlier turns have shown about the tracks.
    """

    def __init__(self, parts: Parts, tracks: Mapping[str, Track], off: Mapping[str, str]) -> None:
        self._parts = parts
        self._tracks = tracks
        self._off = off
        self._detectors = _detectors_of(parts)
        self._shares = PolicyRouting(parts.router)
        breaker = parts.config.breaker
        self._track_stats = TrackStats(HealthRule(breaker.failures, breaker.cooldown_s))
        self.learnt = LearntFacts(tracks, self._track_stats, LearntBoard(parts.store))
        self._templates = LivePrompts(parts.templates)
        self._prompts = _TemplatePrompts(self._templates)
        self._prompt_of = functools.lru_cache(maxsize=256)(self.prompt)

    @property
    def max_rounds(self) -> int:
        """The rounds of a turn, as configured."""
        return self._parts.config.tools.max_rounds

    @property
    def approvals_expire_s(self) -> float:
        """Seconds that a turn waits in the store for a person, as configured."""
        return self._parts.config.tools.approvals_expire_s

    async def refresh(self, until: float = math.inf) -> None:
        """Reload templates that were edited, and publish what was learnt; give up at `until`.

        Callers continue in the order in which they called.

        :param until: seconds on the event loop's clock.
        """
        await self._templates.refresh(until)
        await self.learnt.publish()

    async def search(self, text: str, until: float, images: Sequence[Image] = ()) -> str | None:
        """Return why the detectors make a message private, or None.

        :param text: the user's message.
        :param until: seconds on the event loop's clock.
        :param images: its images, which no detector can search.
        """
        if images and self._detectors:
            return UNSEARCHED_IMAGE
        return await search_message(text, self._detectors, until)

    def deadline_s(self, options: TurnOptions) -> float:
        """Return the seconds that a turn with these options may take."""
        return self._parts.config.deadline_s if options.deadline_s is None else options.deadline_s

    def prompt(
        self, user: str, system: str | None = None, variables: Mapping[str, Any] | None = None
    ) -> SystemPrompt:
        """Return the system prompt for `user`; see `vanta.runtime.runtime.Runtime.session`."""
        config = self._parts.config
        values = {"user": user, **config.variables, **(variables or {})}
        return self._templates.prompt(f"system/{system or config.system}", values)

    def usual_policy(self, user: str) -> Policy:
        """Return the policy of turns that name neither policy nor track."""
        return self._policy_of_template(self._prompt_of(user).now())

    def settings(
        self,
        text: str,
        user: str,
        options: TurnOptions,
        *,
        private: bool,
        private_because: str | None,
        prompt: SystemPrompt | RenderedPrompt | None,
        isolation: Isolation = NOT_ISOLATED,
    ) -> TurnSettings:
        """Return the settings of one turn.

        :param text: the user's message.
        :param private: the session's rule, for options that leave it open.
        :param private_because: what `search` returned.
        :param prompt: the session's system prompt, rendered or not; None for the configured one.
        :raises UnknownName: for a policy or a track that does not exist.
        :raises UsageError: for an `output` without a JSON Schema.
        :raises TemplateError: if the system prompt cannot be rendered.
        """
        parts, config = self._parts, self._parts.config
        system = self._rendered(prompt, user)
        tracks = {**self._tracks, **isolation.tracks} if isolation.tracks else self._tracks
        chosen = self._chosen_policy(options, system, tracks)
        track_stats = isolation.track_stats or self._track_stats
        policy = track_stats.resolve(chosen)
        private = private if options.private is None else options.private
        because = None if private else private_because
        form = form_of(options.output)
        race = RaceSettings(
            policy=policy,
            deadline_s=self.deadline_s(options),
            stall_timeout_s=config.stall_timeout_s,
            sampling=_sampling_of(options, system, form),
            form=form,
            gate=parts.gates[policy.gate.use if policy.gate else "signals"],
            retries=config.retries,
            hard=self._shares.is_hard(text, policy),
            track_stats=track_stats,
        )
        return TurnSettings(
            race=race,
            private=private or bool(because),
            private_because=because,
            tracks=tracks,
            off=self._off,
            system=system.text,
            common_system=prompt is None and self._is_common(system.text),
            prompts=self._prompts,
            store=isolation.store or parts.store,
            ledger=parts.ledger,
            own_caps=options.caps,
            memory=isolation.memory if isolation.store else parts.memory,
            recall=config.memory,
            recall_timeout_s=max(config.memory.recall_timeout_s, isolation.recall_timeout_s),
            shares=_shares_of(config),
            tools=self._tools(options, isolation),
            form=form,
        )

    def _tools(self, options: TurnOptions, isolation: Isolation) -> TurnTools | None:
        parts, agency = self._parts, self._parts.tools
        if agency is not None and isolation.tools is not None:
            agency = isolated_agency(isolation.tools, agency, isolation.store or parts.store)
        return None if agency is None else agency.of_turn(options)

    def _rendered(self, prompt: SystemPrompt | RenderedPrompt | None, user: str) -> RenderedPrompt:
        if isinstance(prompt, RenderedPrompt):
            return prompt
        return (prompt or self._prompt_of(user)).now()

    def _is_common(self, system: str) -> bool:
        """Return whether a configured system prompt is the same for every user."""
        try:
            return self._prompt_of(_ANOTHER_USER).now(quiet=True).text == system
        except (TemplateError, UnknownName):  # the user's own prompt is one that worked before
            return False

    def _chosen_policy(
        self, options: TurnOptions, system: RenderedPrompt, tracks: Mapping[str, Track]
    ) -> Policy:
        if options.track is not None:
            return self._single_track(options.track, tracks)
        if options.policy is None:
            return self._policy_of_template(system)
        return self._named_policy(options.policy)

    def _policy_of_template(self, system: RenderedPrompt) -> Policy:
        """Return the policy that the system prompt's template names, or the configured one."""
        defaults = system.defaults
        try:
            if defaults.track is not None:
                return self._single_track(defaults.track, self._tracks)
            return self._named_policy(defaults.policy or self._parts.config.policy)
        except UnknownName as error:
            if defaults.policy or defaults.track:
                raise TemplateError(f"{system.where}: {error}") from error
            raise

    def _named_policy(self, policy: str | Policy) -> Policy:
        if isinstance(policy, Policy):
            return policy
        policies = self._parts.policies
        if policy not in policies:
            raise UnknownName("policy", policy, policies)
        return policies[policy]

    def _single_track(self, name: str, tracks: Mapping[str, Track]) -> Policy:
        if name not in tracks and name not in self._off:
            raise UnknownName("track", name, [*tracks, *self._off])
        return Policy(f"track {name}", "one track alone", (LegPlan(name),))


def _shares_of(config: Config) -> BudgetShares:
    return BudgetShares(
        memory=config.memory.share,
        tools=config.tools.share,
        tools_most=config.tools.max_schema_tokens,
    )


def _sampling_of(options: TurnOptions, system: RenderedPrompt, form: OutputForm | None) -> Sampling:
    """Return the sampling of the call over that of the template; a typed answer has one form.

    :raises UsageError: if the call asks for another form, too.
    """
    sampling = system.defaults.sampling
    if form is not None:
        check_sampling_beside(options.sampling)
        sampling = dataclasses.replace(sampling, grammar=None, json_schema=None)
    return merge_sampling(sampling, options.sampling) if options.sampling else sampling


def _detectors_of(parts: Parts) -> list[Detector]:
    """Return the configured detectors, less those of an untrusted project that do not exist.

    :raises UnknownName: for a detector of the user's own configuration that does not exist.
    """
    known, trust = parts.plugins.detectors, parts.loaded.trust
    theirs = trust.detectors if trust else frozenset()
    unknown = [name for name in parts.config.privacy.detect if name in theirs - set(known)]
    if unknown:
        _log.warning(
            "the project folder %r is not trusted: ignored: unknown detectors: %s",
            str(trust.folder) if trust else "",
            ", ".join(map(repr, unknown)),
        )
    return [known[name] for name in parts.config.privacy.detect if name not in unknown]


class _TemplatePrompts:
    """The texts that vanta adds to turns, from its prompt templates."""

    def __init__(self, live: LivePrompts) -> None:
        self._live = live
        self._templates: Templates = live.templates
        self._empty_block: tuple[int, str] | None = None

    def write_memories(self, lines: str, summary: str) -> str:
        if lines or summary:
            return self._block(lines, summary)
        edition = self._live.edition  # every turn measures the same empty block
        if self._empty_block is None or self._empty_block[0] != edition:
            self._empty_block = edition, self._block("", "")
        return self._empty_block[1]

    def _block(self, lines: str, summary: str) -> str:
        return self._templates.render("memory/block", {"notes": lines, "summary": summary})

    def ask_to_continue(self, shown: str) -> str:
        variables = {"shown": shown, "anchor": anchor(shown)}
        return self._templates.render("takeover/continue", variables)

    def explain_tools(self, tools: Sequence[Tool], *, must_call: bool) -> str:
        variables = {
            "tools": [{"name": tool.name, "description": tool.description} for tool in tools],
            "signatures": signatures(tools),
            "must_call": must_call,
        }
        return self._templates.render("tools/use", variables).strip()

    def ask_for_type(self, schema: str) -> str:
        return self._templates.render("typed/answer", {"schema": schema})

    def ask_to_correct(self, problem: str) -> str:
        return self._templates.render("typed/correct", {"problem": problem})

    def ask_to_verify(self, question: str, answer: str) -> str:
        variables = {"question": question, "answer": answer}
        return self._templates.render("verify/answer", variables)
