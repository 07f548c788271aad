"""The state of a turn that waits for a person, as the store keeps it.

It has what a turn cannot read again: its message, its prompt, its policy, the rounds so far, the
calls that wait, and the time that is left. History and memory are read anew when it is resumed.

Invariant: what is resumed is as private as it was when it was parked, or more.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from vanta.engine import Sampling
from vanta.errors import StoreError, UsageError
from vanta.messages import Image, Message, ToolCall
from vanta.money import Caps
from vanta.runtime.conversations import Conversation
from vanta.runtime.options import TurnOptions
from vanta.runtime.turns.rounds import RoundsState
from vanta.runtime.turns.turn_settings import TurnSettings
from vanta.scheduling.policy import GateRule, LegPlan, Policy
from vanta.storage import store_waits_until
from vanta.tools import (
    Approval,
    ApprovalMode,
    ParkedCall,
    ParkedTurn,
    ParkedTurns,
    Questions,
    RunnerState,
)
from vanta.trace import Trace, plain_data

STATE_VERSION = 1
LEAST_LEFT_S = 1.0
"""Seconds that a resumed turn has at least, however late its question came."""

RELEASE_S = 5.0
"""Seconds that the store may take to let go of a turn."""

_log = logging.getLogger("vanta")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnState:
    """What a parked turn is resumed from.

    :param message: the user's message.
    :param system: the rendered system prompt.
    :param common_system: whether it is the same for all users.
    :param private: whether the turn was private when it was parked.
    :param private_because: why, if its caller did not ask for it.
    :param left_s: seconds of its deadline that were left.
    :param policy: its policy.
    :param sampling: its sampling.
    :param chosen: the tools and toolsets that its caller chose; None for all.
    :param parallel: whether one answer may have several calls.
    :param approvals: what its caller chose for calls that ask.
    :param trace: its record so far.
    :param rounds: where its rounds stand.
    :param calls: what its calls leave behind.
    :param replaces: the id of the turn that it takes the place of; "" for none.
    :param caps: caps on its spending beside those of the configuration.
    """

    message: Message
    system: str
    common_system: bool
    private: bool
    private_because: str | None
    left_s: float
    policy: Policy
    sampling: Sampling
    chosen: tuple[str, ...] | None
    parallel: bool
    approvals: ApprovalMode | None
    trace: Trace
    rounds: RoundsState
    calls: RunnerState
    replaces: str = ""
    caps: Caps | None = None

    @property
    def options(self) -> TurnOptions:
        """The options under which the turn is resumed."""
        return TurnOptions(
            policy=self.policy,
            deadline_s=max(self.left_s, LEAST_LEFT_S),
            private=True if self.private else None,
            sampling=self.sampling,
            tools=self.chosen,
            parallel_tool_calls=self.parallel,
            approvals=self.approvals,
            caps=self.caps,
        )

    def to_json(self) -> str:
        """Return the state as JSON."""
        return json.dumps({"version": STATE_VERSION, **plain_data(self)})

    @classmethod
    def from_json(cls, text: str) -> TurnState:
        """Restore a state.

        :param text: what `to_json` returned, perhaps in another version of vanta.
        :raises StoreError: if it cannot be read.
        """
        try:
            data = json.loads(text)
            version = data.pop("version")
            if version != STATE_VERSION:
                raise StoreError(
                    f"the turn was parked by another version of vanta (state {version}; this one "
                    f"reads {STATE_VERSION}). Resume it there, or discard it."
                )
            return _state_of(data)
        except (ValueError, TypeError, KeyError, AttributeError, UsageError) as error:
            raise StoreError(
                f"the parked turn cannot be read ({type(error).__name__}). Discard it with "
                "`vanta approvals discard TURN`, and send the message again."
            ) from error


class TurnParking:
    """Keeps one turn in the store while a person is asked; see `vanta.tools` for the protocol.

    :param turns: the parked turns of the store.
    :param turn: the turn's id.
    :param user: the user of the conversation.
    :param session: the session's id.
    :param state: returns where the turn stands.
    """

    def __init__(
        self,
        turns: ParkedTurns,
        turn: str,
        user: str,
        session: str,
        state: Callable[[], TurnState],
    ) -> None:
        self._turns = turns
        self._turn = turn
        self._user = user
        self._session = session
        self._state = state

    async def park(self, calls: Sequence[ParkedCall]) -> None:
        """Keep the turn with its questions, durably. Raises StoreError."""
        state = self._state()
        await self._turns.park(
            ParkedTurn(
                turn=self._turn,
                user=self._user,
                session=self._session,
                private=state.private,
                state=state.to_json(),
                calls=tuple(calls),
            )
        )

    async def answers(self, *, renew: bool = False) -> Mapping[str, ParkedCall] | None:
        """Return what was decided so far; None if the turn was removed. Raises StoreError."""
        return await self._turns.answers(self._turn, renew=renew)

    async def decide(self, key: str, answer: Approval) -> ParkedCall:
        """Record a decision. Raises ApprovalError if there is one, and StoreError."""
        if not answer.approved:
            return await self._turns.deny(key, answer.reason)
        if answer.answer:
            return await self._turns.answer(key, answer.answer)
        return await self._turns.approve(key, answer.scope)

    async def take(self) -> bool:
        """Remove the turn before its calls run; False if it was removed. Raises StoreError."""
        return await self._turns.take(self._turn)

    async def release(self) -> None:
        """Let another process resume the turn. Raises StoreError."""
        await self._turns.release(self._turn)


def state_of(
    settings: TurnSettings,
    message: Message,
    trace: Trace,
    rounds: RoundsState,
    calls: RunnerState,
    *,
    private: bool,
    left_s: float,
    replaces: str,
) -> TurnState:
    """Return what a turn is resumed from.

    :param settings: its settings.
    :param message: the user's message.
    :param trace: its record so far.
    :param rounds: where its rounds stand.
    :param calls: what its calls leave behind.
    :param private: whether it is private by now.
    :param left_s: seconds of its deadline that are left.
    :param replaces: the id of the turn that it takes the place of; "" for none.
    """
    tools = settings.tools
    chosen = tools.chosen if tools else None
    return TurnState(
        message=message,
        system=settings.system,
        common_system=settings.common_system,
        private=private,
        private_because=settings.private_because,
        left_s=left_s,
        policy=settings.race.policy,
        sampling=settings.race.sampling,
        chosen=None if chosen is None else tuple(chosen),
        parallel=tools is None or tools.rounds.parallel,
        approvals=tools.approvals if tools else None,
        trace=trace,
        rounds=rounds,
        calls=calls,
        replaces=replaces,
        caps=settings.own_caps,
    )


def questions_of(
    turn: str,
    settings: TurnSettings,
    conversation: Conversation,
    state: Callable[[], TurnState],
    parked: ParkedTurn | None,
) -> Questions:
    """Return who is asked in a turn, and where it is kept meanwhile.

    A turn with a store of its own, as that of a script, is not kept, nor is one with a typed
    answer, whose type the store cannot keep, or one on a transcript of its caller, since the store
    has no history to resume it with.

    :param turn: the turn's id.
    :param settings: its settings.
    :param conversation: its conversation.
    :param state: returns where the turn stands.
    :param parked: the turn as it was parked; None if it begins.
    """
    tools = settings.tools
    parking = None
    of_runtime = tools is not None and tools.agency.store is settings.store
    keeps = of_runtime and settings.form is None and conversation.resumable
    if parked or keeps:
        turns = tools.agency.parked if tools else ParkedTurns(settings.store)
        parking = TurnParking(turns, turn, conversation.user, conversation.session, state)
    return Questions(
        turn,
        ask=tools.agency.ask if tools else None,
        mode=tools.approvals if tools else None,
        parking=parking,
        earlier={call.key: call for call in parked.calls} if parked else None,
    )


async def release(questions: Questions) -> None:
    """Let another process resume a parked turn that ends here; a failure is logged.

    :param questions: the questions of the turn.
    """
    assert questions.parking is not None  # noqa: S101 - only a turn that is kept is parked
    with (
        anyio.CancelScope(shield=True),
        store_waits_until(anyio.current_time() + RELEASE_S, moved=True),
    ):
        try:
            await questions.parking.release()
        except StoreError as error:
            _log.warning("a waiting turn is held until this process ends: %s", error)


def no_tools_to_resume(turn: str) -> UsageError:
    """Return the error of a turn whose tools are off.

    :param turn: the turn's id.
    """
    return UsageError(
        f"turn {turn!r} waits for calls of tools, and none is on now. Pass the same `own_tools`, "
        "name the same toolsets in `tools.use`, then resume it again."
    )


def _state_of(data: dict[str, Any]) -> TurnState:
    rounds, policy = data["rounds"], data["policy"]
    chosen = data["chosen"]
    changes = {
        "message": _message_of(data["message"]),
        "policy": Policy(
            **{
                **policy,
                "legs": tuple(LegPlan(**leg) for leg in policy["legs"]),
                "gate": GateRule(**policy["gate"]) if policy["gate"] else None,
            }
        ),
        "sampling": _sampling_of(data["sampling"]),
        "chosen": None if chosen is None else tuple(chosen),
        "trace": Trace.from_dict(data["trace"]),
        "rounds": RoundsState(
            **{
                **rounds,
                "messages": tuple(map(_message_of, rounds["messages"])),
                "calls": tuple(ToolCall(**call) for call in rounds["calls"]),
            }
        ),
        "calls": RunnerState.from_dict(data["calls"]),
        "caps": Caps(**data["caps"]) if data.get("caps") else None,
    }
    return TurnState(**{**data, **changes})


def _message_of(data: Mapping[str, Any]) -> Message:
    calls = tuple(ToolCall(**call) for call in data["tool_calls"])
    images = tuple(map(Image.from_url, data.get("images", ())))
    places = tuple(data.get("image_places", ()))
    changes = {"tool_calls": calls, "images": images, "image_places": places}
    return Message(**{**data, **changes})


def _sampling_of(data: Mapping[str, Any]) -> Sampling:
    """Restore a sampling: JSON has lists where it has tuples, and texts for numbers as keys."""
    fields: dict[str, Any] = {
        field.name: tuple(value) if isinstance(value, list) else value
        for field in dataclasses.fields(Sampling)
        if (value := data[field.name]) is not None
    }
    if bias := fields.get("logit_bias"):
        fields["logit_bias"] = {int(token): value for token, value in bias.items()}
    return Sampling(**fields)
