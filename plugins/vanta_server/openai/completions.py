"""`POST /v1/completions`: the older protocol, in which a prompt is a text.

A prompt is answered as the only message of a user, since tracks are models of conversations; it is
not continued word by word. Invariant: a stream ends with `[DONE]` if, and only if, it has all
answers; each prompt has `n` answers, numbered prompt by prompt.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import Field

from vanta import Reply
from vanta_server.access import Client
from vanta_server.answers import AnswerPart, event_data, who_answered
from vanta_server.endpoint import Call, ClientTurn, Endpoint
from vanta_server.errors import ApiError
from vanta_server.fields import read_request
from vanta_server.http import ResponseStream, run_beside, run_together
from vanta_server.names import ServedModel
from vanta_server.openai.logprobs import text_logprobs
from vanta_server.openai.requests import MOST_ANSWERS, SampledRequest
from vanta_server.openai.responses import (
    DONE,
    finish_reason,
    server_event,
    total_usage,
    usage_data,
)


class CompletionRequest(SampledRequest):
    """The body of `POST /v1/completions`."""

    prompt: str | list[str]
    logprobs: int | None = Field(default=None, ge=0, le=20)

    @property
    def rivals(self) -> int | None:
        """The number of top alternatives to return per token; None for no logprobs."""
        return self.logprobs

    @property
    def prompts(self) -> list[str]:
        """Every prompt."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    @property
    def count(self) -> int:
        """How many answers are asked for.

        :raises ApiError: if they are too many, or none.
        """
        count = len(self.prompts) * self.answers
        if not 0 < count <= MOST_ANSWERS:
            problem = f"'prompt' and 'n' ask for {count} answers; 1 to {MOST_ANSWERS} are possible"
            raise ApiError(400, problem, param="prompt")
        return count


@dataclass(frozen=True, slots=True)
class _Completion:
    """A request with what its names mean."""

    request: CompletionRequest
    model: ServedModel
    client: Client
    heading: Mapping[str, Any]

    def turn(self, number: int) -> ClientTurn:
        """Return the turn of one of several answers."""
        prompt, choice = divmod(number, self.request.answers)
        sampling = self.request.sampling(choice)
        return ClientTurn(
            model=self.model,
            client=self.client,
            messages=[{"role": "user", "content": self.request.prompts[prompt]}],
            options=self.request.options_of(self.model.options, sampling),
            tools=list(self.request.vanta.tools),
        )

    def chunk(self, number: int, text: str, **rest: Any) -> bytes:
        """Return a part of one answer as an event, before its end."""
        return server_event({**self.heading, "choices": [_choice(number, text)], **rest})

    def end(self, number: int, reply: Reply) -> bytes:
        """Return the end of one answer as an event."""
        who = {**who_answered(reply), "ignored": self.request.ignored}
        choice = _choice(number, "", reply, self.request.rivals)
        return server_event({**self.heading, "choices": [choice], "vanta": who})


class Completions(Endpoint):
    """The endpoint.

    :param runtime: what answers.
    """

    async def answer(self, body: object, call: Call) -> None:
        """Answer one request."""
        request = read_request(CompletionRequest, body)
        model, client = self.find(request, call, request.user)
        heading = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": request.model or model.id,
        }
        completion = _Completion(request, model, client, heading)
        if request.stream:
            await self._stream(completion, call.stream)
            return
        replies: dict[int, Reply] = {}

        async def answer(number: int) -> None:
            replies[number] = await self.whole(completion.turn(number))

        await run_together(answer, request.count)
        await call.send_json(_whole(completion, [replies[n] for n in range(request.count)]))

    def error_piece(self, body: Mapping[str, Any]) -> bytes:
        """Return an error as an event."""
        return server_event(body)

    async def _stream(self, completion: _Completion, stream: ResponseStream) -> None:
        request, replies = completion.request, dict[int, Reply]()

        async def answer(number: int) -> None:
            async def write(part: AnswerPart) -> None:
                if part.event is not None and request.vanta.events:
                    await stream.write(completion.chunk(number, "", vanta=event_data(part.event)))
                elif part.text:
                    await stream.write(completion.chunk(number, part.text))
                elif part.reply is not None:
                    await stream.write(completion.end(number, part.reply))

            replies[number] = await self.write_parts(completion.turn(number), write)

        await run_beside(partial(run_together, answer, request.count), stream.keep_alive)
        usage = total_usage(list(replies.values()))
        options = request.stream_options
        if options and options.include_usage and usage:
            last = {**completion.heading, "choices": [], "usage": usage_data(usage)}
            await stream.write(server_event(last))
        await stream.write(DONE)
        await stream.close()


def _whole(completion: _Completion, replies: Sequence[Reply]) -> dict[str, Any]:
    usage = total_usage(replies)
    return {
        **completion.heading,
        "choices": [
            _choice(number, reply.text, reply, completion.request.rivals)
            for number, reply in enumerate(replies)
        ],
        "usage": usage_data(usage) if usage else None,
        "vanta": {**who_answered(replies[0]), "ignored": completion.request.ignored},
    }


def _choice(
    number: int, text: str, reply: Reply | None = None, rivals: int | None = None
) -> dict[str, Any]:
    return {
        "index": number,
        "text": text,
        "logprobs": text_logprobs(reply, rivals) if reply else None,
        "finish_reason": finish_reason(reply) if reply else None,
    }
