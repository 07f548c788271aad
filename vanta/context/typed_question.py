"""The question of a turn whose answer has a type: the schema in words, and in the sampling.

Every track reads the schema below the user's message, since most servers hold a model to a schema
without showing it. Engines that can keep a schema get it with the request, too.

Invariant: the history keeps the user's own words alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Protocol

from vanta.engine import Sampling
from vanta.messages import Message
from vanta.track import Track


class TypePrompts(Protocol):
    """The texts that ask for an answer of a type. Each method may raise TemplateError."""

    def ask_for_type(self, schema: str) -> str:
        """Return what is added to a message whose answer has to be JSON.

        :param schema: the JSON Schema of the answer, as JSON.
        """
        ...

    def ask_to_correct(self, problem: str) -> str:
        """Return the message that asks a track to correct an answer that is not of its type.

        :param problem: what is wrong with it.
        """
        ...


class TypedQuestion:
    """The user's message, with the form that its answer must have.

    :param message: the user's message.
    :param schema: the JSON Schema of the answer; None for an answer in words.
    :param prompts: the texts that ask for it.
    """

    def __init__(
        self, message: Message, schema: Mapping[str, Any] | None, prompts: TypePrompts
    ) -> None:
        self._message = message
        self._schema = schema
        self._prompts = prompts
        self._asked: Message | None = None if schema else message

    @property
    def typed(self) -> bool:
        """Whether the answer has a type."""
        return self._schema is not None

    @property
    def message(self) -> Message:
        """The message as tracks are sent it.

        :raises TemplateError: if its template is broken.
        """
        if self._asked is None:
            text = json.dumps(self._schema, ensure_ascii=False, separators=(",", ":"))
            self._asked = self._message.followed_by(f"\n\n{self._prompts.ask_for_type(text)}")
        return self._asked

    def sampling(self, track: Track, sampling: Sampling, *, has_tools: bool) -> Sampling:
        """Return `sampling` with the schema of the answer, if the track's engine can keep it.

        A model that may call a tool writes freely: few engines keep a schema and allow calls.

        :param has_tools: whether the request offers tools.
        """
        if self._schema is None or has_tools or not track.engine.capabilities.json_schema:
            return sampling
        return dataclasses.replace(sampling, json_schema=self._schema, grammar=None)

    def correction(self, answer: str, why: str) -> tuple[Message, ...]:
        """Return the messages that follow a wrong answer.

        :param answer: the answer.
        :param why: what is wrong with it.
        """
        wrong = (Message("assistant", answer),) if answer.strip() else ()
        return (*wrong, Message("user", self._prompts.ask_to_correct(why)))
