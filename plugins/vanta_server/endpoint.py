"""A route that answers with turns, whatever protocol it speaks.

Plain ASGI, so that a client's leaving is noticed at once. Invariant: leaving cancels the turn; an
error before the first byte has its own status, and one after it is the last thing in the stream.
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from vanta import Policy, Reply, Runtime, Tool, TurnOptions, UnknownName, UsageError
from vanta_server.access import ANONYMOUS, Client, client_of
from vanta_server.answers import AnswerPart, answer_parts, may_replace
from vanta_server.error_shapes import error_answer, id_headers
from vanta_server.errors import ApiError, api_error
from vanta_server.fields import RequestBody
from vanta_server.http import (
    EVENT_STREAM,
    Receive,
    ResponseStream,
    Scope,
    Send,
    StreamFormat,
    read_json,
    run_beside,
    send_json,
    until_disconnect,
)
from vanta_server.names import ServedModel, find_model, names_of

_log = logging.getLogger("vanta.server")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and the means to answer it.

    :param scope: the request, as `Access` passes it on.
    :param stream: for an answer in pieces.
    :param send: for a whole answer.
    """

    scope: Scope
    stream: ResponseStream
    send: Send

    async def send_json(self, data: Mapping[str, Any]) -> None:
        """Send a whole answer."""
        await send_json(self.send, data, headers=id_headers(self.scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTurn:
    """A turn as a client asks for it.

    :param model: what the model's name chooses.
    :param client: the client of the request.
    :param messages: the transcript, as `Runtime.complete` takes it.
    :param options: how the turn is answered.
    :param tools: tools of the client, and names of tools of the runtime.
    :param tool_choice: how tools may be called.
    """

    model: ServedModel
    client: Client
    messages: Sequence[Mapping[str, Any]]
    options: TurnOptions
    tools: Sequence[Tool | str] = ()
    tool_choice: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `Runtime.complete` and `Runtime.stream`."""
        client = self.client
        return {
            "messages": self.messages,
            "tools": list(self.tools) or None,
            "tool_choice": self.tool_choice,
            "options": client.limited(self.options),
            "user": client.user or ANONYMOUS,
            "session": client.session,
            "memory": bool(client.user),
            "store": bool(client.user and client.session),
        }

    def holds(self, runtime: Runtime) -> bool:
        """Return whether the policy of this turn may replace what was shown.

        :param runtime: what answers.
        """
        if self.options.track is not None:
            return False
        return may_replace(policy_of(runtime, self.options))


class Endpoint(abc.ABC):
    """A route; subclasses read the body of a request and answer it.

    :param runtime: what answers.
    """

    stream_format: ClassVar[StreamFormat] = EVENT_STREAM

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        stream = ResponseStream(send, id_headers(scope), self.stream_format)
        call = Call(scope, stream, send)
        try:
            body = await read_json(receive)
            work = partial(self.answer, body, call)
            await run_beside(work, partial(until_disconnect, receive))
        except ConnectionAbortedError:
            return
        except Exception as error:  # noqa: BLE001 - whatever breaks, the client reads an error
            await self._report(error, call)

    @abc.abstractmethod
    async def answer(self, body: object, call: Call) -> None:
        """Answer a request.

        :param body: the JSON of its body.
        :param call: the request.
        """

    @abc.abstractmethod
    def error_piece(self, body: Mapping[str, Any]) -> bytes:
        """Return an error as a piece of a stream that has begun.

        :param body: the error as the protocol writes it.
        """

    def find(
        self, request: RequestBody, call: Call, user: str | None = None
    ) -> tuple[ServedModel, Client]:
        """Return the model that a request names, and its client.

        :param request: the request.
        :param call: the same.
        :param user: the user that the body names.
        :raises UnknownName: if there is no such model.
        """
        client = client_of(call.scope, user)
        return find_model(self.runtime, request.model), client

    def allow(self, turn: ClientTurn) -> None:
        """Refuse a turn that the client's key does not allow, whatever field chooses its track.

        :param turn: the turn.
        :raises ApiError: if it is not allowed.
        """
        turn.client.require_model(names_of(self.runtime, turn.options))

    def tracks_of(self, options: TurnOptions) -> list[str]:
        """Return the names of the tracks that may answer a turn.

        :param options: how it is answered.
        :raises UsageError: if none of them is on.
        """
        if options.track is not None:
            names: Iterable[str] = [options.track]
        else:
            names = policy_of(self.runtime, options).tracks
        tracks = [name for name in names if name in self.runtime.tracks]
        if not tracks:
            raise UsageError("no track that may answer is on")
        return tracks

    async def whole(self, turn: ClientTurn) -> Reply:
        """Run a turn to its end."""
        self.allow(turn)
        reply = await self.runtime.complete(**turn.arguments())
        turn.client.count([reply])
        return reply

    async def write_parts(
        self, turn: ClientTurn, write: Callable[[AnswerPart], Awaitable[None]]
    ) -> Reply:
        """Run a turn and write the parts of its answer.

        :param turn: the turn.
        :param write: writes one part.
        """
        self.allow(turn)
        async with self.runtime.stream(**turn.arguments()) as running:
            async with aclosing(answer_parts(running, holds=turn.holds(self.runtime))) as parts:
                async for part in parts:
                    if part.reply is not None:
                        turn.client.count([part.reply])
                    await write(part)
            return running.reply

    async def _report(self, error: Exception, call: Call) -> None:
        """Send an error to the client, as a status or as the end of a stream that has begun."""
        shown = api_error(error)
        if shown.status >= 500:
            _log.warning("request %s: %s", call.scope["state"]["request_id"], error)
        await report(shown, call, self.error_piece)


def policy_of(runtime: Runtime, options: TurnOptions) -> Policy:
    """Return the policy of a turn that names no track.

    :param runtime: what answers.
    :param options: how it is answered.
    :raises UnknownName: if there is no such policy.
    """
    policy = options.policy
    if policy is None:
        return runtime.usual_policy()
    if not isinstance(policy, str):
        return policy
    if policy not in runtime.policies:
        raise UnknownName("policy", policy, runtime.policies)
    return runtime.policies[policy]


async def report(error: ApiError, call: Call, piece: Callable[[Mapping[str, Any]], bytes]) -> None:
    """Send an error to the client of a request.

    :param error: the error.
    :param call: the request.
    :param piece: returns the error as a piece of a stream that has begun.
    """
    answer = error_answer(error, call.scope)
    if call.stream.begun:
        await call.stream.write(piece(answer.body))
        await call.stream.close()
        return
    await send_json(call.send, answer.body, answer.status, answer.headers)
