"""Typed answers: which answers of a race are of the type that the caller asked for.

Any other answer does not count: its leg does not serve the turn, another track is asked as the
policy has it, and where none is left, the track itself, once, with what was wrong. While tools are
on offer a model may answer in plain words, since no grammar applies then: its track is asked for
the typed answer at once.

Invariant: every finished answer is read once, and its value is the one that the caller gets. What
is recorded of a wrong answer (trace, events, errors) names fields and rules and quotes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from vanta.errors import EngineError, ErrorKind
from vanta.scheduling.agreement import disagreement
from vanta.scheduling.leg import Leg
from vanta.scheduling.policy import LegPlan

LONGEST_REPAIR = 8_000
"""Characters of a wrong answer that its track is shown again."""

_CUT_OFF = "its token limit was reached before the answer was complete"


class WrongAnswer(ValueError):  # noqa: N818 - the name states the error
    """An answer is not of the type that was asked for.

    :param problem: which fields break which rules, without a word of the answer.
    :param details: the same for the model that wrote the answer; it may quote it.
    """

    def __init__(self, problem: str, details: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.details = details or problem


class AnswerForm(Protocol):
    """The type of an answer, as the scheduler sees it."""

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the answer's text, an object."""
        ...

    def read(self, text: str) -> Any:
        """Return the value of an answer.

        :param text: the whole text of the answer.
        :raises WrongAnswer: if it is not of the type.
        """
        ...


class TypedAnswers:
    """Reads the answers of one race.

    :param form: the type of the answer; None for an answer in words, which is never wrong.
    """

    def __init__(self, form: AnswerForm | None) -> None:
        self._form = form
        self._values: dict[int, Any] = {}
        self._wrong: dict[int, WrongAnswer] = {}
        self._repaired: set[str] = set()

    @property
    def typed(self) -> bool:
        """Whether the answer has a type."""
        return self._form is not None

    def problem(self, leg: Leg) -> str | None:
        """Return why a finished answer is not of the type, None if it is or if it calls tools.

        :param leg: a leg whose answer is whole.
        """
        if self._form is None or leg.number in self._values:
            return None
        if leg.number not in self._wrong:
            answer = leg.fold.completion()
            if answer.tool_calls:
                return None
            try:
                self._values[leg.number] = self._form.read(answer.text)
            except WrongAnswer as error:
                self._wrong[leg.number] = error
            else:
                return None
        return self._wrong[leg.number].problem

    def value(self, leg: Leg | None) -> Any:
        """Return the value of a leg's answer, None if it has none."""
        return None if leg is None else self._values.get(leg.number)

    def error(self, leg: Leg) -> EngineError:
        """Return the error of a leg whose answer is wrong."""
        advice = "Describe the fields in the schema, or choose a policy with a stronger track."
        message = f"its answer is not of the type that was asked for: {self.problem(leg)}"
        if leg.fold.completion().finish_reason == "length":
            message, advice = f"{message}; {_CUT_OFF}", "Raise max_tokens."
        error = leg.track.error(ErrorKind.INVALID_ANSWER, message, advice)
        error.track = leg.track.name
        error.retryable = False
        return error

    def disagreement(self, first: Leg, second: Leg, shown: str, text: str) -> str | None:
        """Return why the answer of `second` replaces that of `first`, None if they agree.

        Typed answers agree if their values are equal.

        :param shown: the text of the first answer.
        :param text: the text of the second.
        """
        if not self.typed:
            return disagreement(shown, text)
        equal = self.value(first) == self.value(second)
        return None if equal else "its answer has other values"

    def may_serve(self, leg: Leg) -> bool:
        """Whether the deadline may end the turn with the answer of a leg: a part is not a value."""
        return not self.typed or (leg.finished and leg.state == "running")

    def needs_form(self, leg: Leg) -> bool:
        """Whether a wrong answer was written without a form that its engine could have kept."""
        request = leg.request
        is_free = (
            leg.number in self._wrong
            and request is not None
            and request.sampling.json_schema is None
        )
        is_able = leg.track.engine.capabilities.json_schema
        return is_free and is_able and leg.track.name not in self._repaired

    def next_repair(self, legs: Iterable[Leg]) -> Leg | None:
        """Return the first leg whose track may still be asked to correct its answer.

        :param legs: the legs of the race, the preferred ones first.
        """
        for leg in legs:
            if leg.number in self._wrong and leg.track.name not in self._repaired:
                return leg
        return None

    def repair(self, leg: Leg) -> tuple[LegPlan, str, str]:
        """Return the plan of the leg that corrects an answer, the answer, and what is wrong.

        :param leg: the leg with the wrong answer; its track is asked once.
        """
        self._repaired.add(leg.track.name)
        plan = dataclasses.replace(
            leg.plan, start_after_s=0.0, hold_s=0.0, when="always", amends=False
        )
        details = self._wrong[leg.number].details
        return plan, leg.fold.completion().text[:LONGEST_REPAIR], details
