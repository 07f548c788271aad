"""Builds the request that a track gets in a turn.

Invariant: every request of a turn is built here, so that budget and privacy hold for first legs,
hedges and takeovers alike. `shown_ids` records which memories each track was shown.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vanta.concurrency import open_task_group
from vanta.context.assembly import Assembled, assemble
from vanta.context.budget import (
    DEFAULT_SHARES,
    BudgetShares,
    OverflowReport,
    TokenBudget,
    read_overflow,
)
from vanta.context.memories import Memories, Recall
from vanta.context.token_cache import token_cache_of
from vanta.context.tool_share import NO_TOOLS_SHOWN, ShownTools, ToolChooser, all_tools
from vanta.context.typed_question import TypedQuestion, TypePrompts
from vanta.engine import GenerationRequest, Sampling, Tool
from vanta.errors import EngineError, ErrorKind, TemplateError
from vanta.messages import Exchange, Message
from vanta.normalising import arranged
from vanta.privacy import Quotations
from vanta.trace import ContextTrace, ToolsTrace
from vanta.track import Track

VERIFY_RIVALS = 5
"""Top alternatives to request for a verifier's one token, to find yes and no among them."""

LEFT_OUT = "This result was left out, as the context is full. Call the tool again if you need it."
"""What stands for the result of a call that does not fit any more."""

LEAST_TOOL_ROOM = 64
"""Tokens below which tools that could be left out are."""

MARGIN = 0.02
"""Share of a server's window that is left free after the server refused a prompt."""


class TurnPrompts(TypePrompts, Protocol):
    """The texts that vanta itself adds to a turn. Each method may raise TemplateError."""

    def write_memories(self, lines: str, summary: str) -> str:
        """Return the block of memories.

        :param lines: the memories, one per line; may be empty.
        :param summary: the summary of the session, or "".
        """
        ...

    def ask_to_continue(self, shown: str) -> str:
        """Return the message that asks an engine without prefix continuation to continue `shown`.

        :param shown: the text that the user has seen.
        """
        ...

    def explain_tools(self, tools: Sequence[Tool], *, must_call: bool) -> str:
        """Return how to call tools, for a model that has no format of its own for calls.

        :param tools: the tools that are offered.
        :param must_call: whether the answer has to call one.
        """
        ...

    def ask_to_verify(self, question: str, answer: str) -> str:
        """Return the message that asks whether an answer is right.

        :param question: the user's message.
        :param answer: the answer to judge.
        """
        ...


class ContextPreparer:
    """Builds the requests of one turn.

    :param system: the rendered system prompt.
    :param history: past exchanges, oldest first.
    :param message: the user's message.
    :param sampling: the turn's sampling; its set fields take precedence over the track's.
    :param user: the user's name.
    :param session: with `user` the key of the engine's KV cache; "" for none.
    :param prompts: the texts that vanta itself adds.
    :param recall: searches memory; None if the turn has no memory.
    :param shares: how the prompt is divided between system prompt, memories and history.
    :param min_relevance: memories of less relevance are not shown.
    :param common_system: whether the system prompt is the same for all users.
    :param schema: the JSON Schema of the answer; None for an answer in words.
    :param is_private: returns whether the turn is private; the words of a server that refused a
        prompt are not recorded then.
    :param chooser: chooses the tools that a track is shown; None shows all.
    """

    def __init__(
        self,
        *,
        system: str,
        history: Sequence[Exchange],
        message: Message,
        sampling: Sampling,
        user: str,
        session: str,
        prompts: TurnPrompts,
        recall: Recall | None = None,
        shares: BudgetShares = DEFAULT_SHARES,
        min_relevance: float = 0.0,
        common_system: bool = False,
        schema: Mapping[str, Any] | None = None,
        is_private: Callable[[], bool] = lambda: False,
        chooser: ToolChooser | None = None,
    ) -> None:
        self._min_relevance = min_relevance
        self._system = system
        self._history = history
        self._message = message
        self._sampling = sampling
        self._user = user
        self._session = session
        self._prompts = prompts
        self._recall = recall
        self._shares = shares
        self._common = int(bool(system) and common_system)
        self._is_private = is_private
        self._chooser = chooser
        self._question = TypedQuestion(message, schema, prompts)
        self._tools: tuple[Tool, ...] = ()
        self._tool_choice = "auto"
        self._parallel = True
        self._rounds: list[Message] = []
        self._memories: Memories | None = None
        self._memory_skipped: str | None = None
        self._sent: dict[str, _Prompt] = {}
        self._traces: dict[str, ContextTrace] = {}
        self._shown_ids: dict[str, frozenset[int]] = {}

    @property
    def traces(self) -> Mapping[str, ContextTrace]:
        """The last prompt of each track that was sent one, for the turn's trace."""
        return self._traces

    @property
    def shown_ids(self) -> Mapping[str, frozenset[int]]:
        """The ids of all memories that each track was shown in this turn, by track name."""
        return self._shown_ids

    def offer(self, tools: Sequence[Tool], choice: str, *, parallel: bool = True) -> None:
        """Set the tools of the requests that follow.

        :param tools: the tools that the model may call; none for an answer without calls.
        :param choice: `auto`, `none`, `required` or the name of a tool.
        :param parallel: whether one answer may have several calls.
        """
        self._tools, self._tool_choice, self._parallel = tuple(tools), choice, parallel

    def add_round(self, messages: Sequence[Message]) -> None:
        """Add what followed the user's message: calls of the model, and their results.

        :param messages: the assistant's message with its calls, then a tool's message for each.
        """
        self._rounds += messages

    async def prepare(self, track: Track, *, shown: str, judged: bool) -> GenerationRequest:
        """Build the request of one leg; see `vanta.scheduling.race_plan.Preparer`."""
        await track.load()
        if self._recall is None:
            prompt = await self._fitting(track, shown)
        else:  # its connection is opened while the memories are looked up
            async with open_task_group() as tasks:
                tasks.start_soon(track.connect)
                prompt = await self._fitting(track, shown)
        return self._request(track, prompt, shown, judged=judged)

    async def shorten(
        self, track: Track, refusal: EngineError, *, shown: str, judged: bool
    ) -> GenerationRequest:
        """Build a shorter request for a server that refused the first one.

        See `vanta.scheduling.race_plan.Preparer`.
        """
        refused = self._sent.get(track.name)
        if refused is None:
            raise refusal
        report = read_overflow(refusal.message)
        token_cache_of(track.engine).heed(report, track.reply_reserve)
        messages, tools = refused.assembled.messages, refused.tools.tokens
        window = await shorter_window(track, messages, report, tools=tools)
        prompt = await self._fitting(track, shown, window)
        quotations = Quotations([message.content for message in messages])
        why = quotations.removed_from(refusal.message)
        if self._is_private() and refusal.summary is not None:
            why = refusal.summary
        return self._request(track, prompt, shown, judged=judged, refused=why)

    async def repair(
        self, track: Track, *, answer: str, why: str, judged: bool
    ) -> GenerationRequest:
        """Build the request that asks a track to correct its answer, without tools.

        See `vanta.scheduling.race_plan.Preparer`.
        """
        await track.load()
        tail = (*self._tail(track, ""), *self._question.correction(answer, why))
        window = token_cache_of(track.engine).window(track.window or track.engine.window)
        prompt = _Prompt(await self._assemble(track, tail, window, 0), NO_TOOLS_SHOWN)
        request = self._request(track, prompt, "", judged=judged)
        return dataclasses.replace(request, tool_choice="auto")

    async def verification(self, track: Track, answer: str) -> GenerationRequest:
        """Build the request for one token on `answer`.

        See `vanta.scheduling.race_plan.Preparer`.
        """
        await track.load()
        text = self._prompts.ask_to_verify(self._message.content, answer)
        question = Message("user", text, images=self._message.images)
        assembled = await assemble(track, "", (), (question,))
        logprobs = VERIFY_RIVALS if track.engine.capabilities.logprobs else None
        sampling = Sampling(max_tokens=1, temperature=0.0, logprobs=logprobs)
        return GenerationRequest(assembled.messages, sampling, scope=self._scope)

    @property
    def _scope(self) -> str:
        return f"user {self._user}"

    def _request(
        self,
        track: Track,
        prompt: _Prompt,
        shown: str,
        *,
        judged: bool,
        refused: str | None = None,
    ) -> GenerationRequest:
        continues = _continues(track, shown)
        self._record(track, prompt, refused)
        messages = prompt.assembled.messages
        return GenerationRequest(
            messages=arranged(messages[:-1] if continues else messages),
            sampling=self._sampling_for(track, prompt, judged=judged),
            checked=self._question.typed,
            tools=prompt.tools.tools,
            tool_choice=self._tool_choice,
            parallel_tool_calls=self._parallel,
            tool_rules=self._tool_rules(track, prompt.tools.tools),
            prefix=shown if continues else "",
            session=json.dumps([self._user, self._session]) if self._session else "",
            scope=self._scope,
            common=self._common,
        )

    def _tool_rules(self, track: Track, tools: Sequence[Tool]) -> str:
        """Return how to call the tools; "" for a model with a format of its own."""
        if not (tools and track.engine.writes_calls):
            return ""
        try:
            must_call = self._tool_choice not in ("auto", "none")
            return self._prompts.explain_tools(tools, must_call=must_call)
        except TemplateError:  # a broken template must not break the turn
            return ""

    def _record(self, track: Track, prompt: _Prompt, refused: str | None) -> None:
        self._sent[track.name] = prompt
        self._traces[track.name] = trace_of(
            prompt.assembled,
            memory_skipped=self._memory_skipped,
            refused=refused,
            tools=prompt.tools.trace,
        )
        if prompt.assembled.pack:
            ids = frozenset(memory.item.id for memory in prompt.assembled.pack.chosen)
            self._shown_ids[track.name] = self._shown_ids.get(track.name, frozenset()) | ids

    def _tail(self, track: Track, shown: str) -> tuple[Message, ...]:
        """Return the messages that stand whole at the end of the prompt."""
        asked = (self._question.message, *self._rounds)
        if not shown:
            return asked
        answer = Message("assistant", shown)
        if _continues(track, shown):
            return (*asked, answer)
        return (*asked, answer, Message("user", self._prompts.ask_to_continue(shown)))

    def _sampling_for(self, track: Track, prompt: _Prompt, *, judged: bool) -> Sampling:
        sampling = merge_sampling(track.sampling, self._sampling)
        sampling = self._question.sampling(track, sampling, has_tools=bool(prompt.tools.tools))
        if judged and sampling.logprobs is None and track.engine.capabilities.logprobs:
            return dataclasses.replace(sampling, logprobs=0)
        return sampling

    async def _fitting(self, track: Track, shown: str, window: int | None = None) -> _Prompt:
        """Assemble a prompt with its tools.

        If the messages do not fit, tools are left out first, since `find_tools` brings them back;
        then the oldest results of calls, one by one.
        """
        window = window or token_cache_of(track.engine).window(track.window or track.engine.window)
        room = self._tool_room(track, window)
        while True:
            tools = await self._choose_tools(track, room)
            try:
                tail = self._tail(track, shown)
                return _Prompt(await self._assemble(track, tail, window, tools.tokens), tools)
            except EngineError as error:
                if error.kind is not ErrorKind.CONTEXT_OVERFLOW:
                    raise
                if not tools.is_least:
                    room = _smaller_room(tools.tokens if room is None else min(room, tools.tokens))
                elif not self._leave_out_result():
                    raise

    def _tool_room(self, track: Track, window: int | None) -> int | None:
        if window is None:
            return None
        return TokenBudget(window, track.reply_reserve, self._shares).tool_room

    async def _choose_tools(self, track: Track, room: int | None) -> ShownTools:
        """Return the tools of a request: those that fit, and those that it cannot do without."""
        if not self._tools:
            return NO_TOOLS_SHOWN
        count = functools.partial(token_cache_of(track.engine).tools, track.engine)
        if self._chooser is None:
            return await all_tools(self._tools, room, count)
        called = {call.name for message in self._rounds for call in message.tool_calls}
        needed = called | {self._tool_choice}
        return await self._chooser.choose(
            track.name, self._tools, needed=needed, room=room, count=count
        )

    def _leave_out_result(self) -> bool:
        """Replace the oldest long result of a call by a note; False if there is none."""
        for place, message in enumerate(self._rounds):
            is_long = bool(message.images) or len(message.content) > len(LEFT_OUT)
            if message.role == "tool" and is_long:
                self._rounds[place] = Message("tool", LEFT_OUT, tool_call_id=message.tool_call_id)
                return True
        return False

    async def _assemble(
        self, track: Track, tail: tuple[Message, ...], window: int | None, tools: int
    ) -> Assembled:
        parts = (track, self._system, self._history, tail)
        plain = functools.partial(assemble, *parts, window=window, tools=tools)
        if self._recall is None:
            return await plain()
        found = await self._recall()
        if self._memories is None:
            self._memories = Memories(
                found, self._prompts.write_memories, self._session, self._min_relevance
            )
        memories, shares = self._memories, self._shares
        try:
            return await plain(memories=memories, shares=shares)
        except TemplateError as error:  # a broken template of the block must not break the turn
            self._memory_skipped = str(error)
            return await plain()


@dataclass(frozen=True, slots=True)
class _Prompt:
    """The messages and the tools of a request."""

    assembled: Assembled
    tools: ShownTools


async def shorter_window(
    track: Track, refused: Sequence[Message], report: OverflowReport, *, tools: int = 0
) -> int:
    """Return the window, in the engine's own counts, in which a refused prompt would fit.

    The engine may have learnt from the refusal, so the prompt is counted again. If the server
    reported both its window and the size of the prompt, they are scaled to the engine's counts;
    otherwise the prompt is halved.

    :param track: the track whose server refused.
    :param refused: the messages that were sent.
    :param report: the numbers of the refusal.
    :param tools: tokens of the tools that were sent with them.
    :raises EngineError: if the engine cannot count.
    """
    counted = (await track.engine.count_tokens(refused)).value + tools
    if report.window is None or report.prompt is None:
        return counted // 2 + track.reply_reserve
    reserve = track.reply_reserve if report.reply is None else report.reply
    left = int((report.window - reserve) * counted / report.prompt * (1.0 - MARGIN))
    return (left if 0 < left < counted else counted // 2) + track.reply_reserve


def _smaller_room(tokens: int) -> int:
    """Return half of what tools took; nothing for tools that can be left out if that is little."""
    return tokens // 2 if tokens // 2 >= LEAST_TOOL_ROOM else 0


def trace_of(
    assembled: Assembled,
    *,
    memory_skipped: str | None = None,
    refused: str | None = None,
    tools: ToolsTrace | None = None,
) -> ContextTrace:
    """Return the trace of a prompt."""
    tokens, pack, budget = assembled.tokens, assembled.pack, assembled.budget
    return ContextTrace(
        tokens=tokens.value if tokens else None,
        exact=tokens.exact if tokens else None,
        counter=assembled.counter,
        window=budget.window if budget else None,
        budget=budget.prompt if budget else None,
        dropped_exchanges=assembled.dropped,
        memories=pack.trace() if pack else (),
        memory_tokens=pack.tokens if pack else 0,
        summary=bool(pack and pack.summary),
        memory_skipped=memory_skipped,
        refused=refused,
        tools=tools,
    )


def merge_sampling(base: Sampling, over: Sampling) -> Sampling:
    """Return a sampling with the fields of another one on top.

    :param base: the sampling to change.
    :param over: the sampling whose set fields replace those of `base`.
    """
    default = Sampling()
    changes = {
        field.name: getattr(over, field.name)
        for field in dataclasses.fields(Sampling)
        if getattr(over, field.name) != getattr(default, field.name)
    }
    return dataclasses.replace(base, **changes) if changes else base


def _continues(track: Track, shown: str) -> bool:
    """Whether the engine continues the shown text itself, given as a prefix."""
    return bool(shown) and track.engine.capabilities.prefix_continuation
