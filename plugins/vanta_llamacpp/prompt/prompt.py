"""From a request to the tokens of its prompt; every error of a request is found here.

Runs in any thread, before the request is queued. Invariant: a `TokenizedRequest` fits the window
with room for one token of an answer.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from vanta import EngineError, ErrorKind, GenerationRequest, Message, Sampling, Tool, ToolCounts
from vanta.normalising import (
    NONE_QUOTED,
    QuotedCalls,
    arranged,
    open_answer,
    quoted_calls,
    quoted_marks,
    reasoning_end,
    written,
)
from vanta_llamacpp.model import LlamaModel, common_prefix
from vanta_llamacpp.prompt.chat_template import FAMILIES, ChatTemplate, ChatTemplateError, sources
from vanta_llamacpp.prompt.tool_counts import count_tools
from vanta_llamacpp.sampling import (
    CallGrammar,
    call_grammar,
    check,
    closing_tokens,
    format_of,
    grammar_for,
)

OPENINGS = 16
"""Openings whose tokens are kept."""

LONGEST_WRITTEN = 32
"""Tokens of a prefix that are decoded one by one, so that its continuation is bit for bit that of
an uninterrupted answer (see `slots`); a longer prefix is decoded in chunks, which is faster."""


@dataclass(frozen=True, slots=True)
class TokenizedRequest:
    """The tokens that a generation continues, and how.

    :param tokens: the prompt, followed by the given prefix of the answer.
    :param max_tokens: the maximum number of output tokens, at least 1.
    :param grammar: GBNF that the answer must follow, or None.
    :param tools: the tools that the output may call.
    :param calls: the grammars of the calls, or None.
    :param most_calls: the largest number of calls, None for any number.
    :param reasoning_end: the mark that ends the reasoning which the prompt has opened, or "".
    :param prefix_tokens: how many of the last tokens belong to the answer.
    :param stepwise_tokens: how many of these to prefill one by one, as they were decoded.
    :param common_tokens: how many of the first tokens are no user's.
    :param closing_tokens: how many of the last tokens are kept to close the JSON of the answer.
    :param quoted_marks: the marks of reasoning that the user's messages contain.
    :param quoted_calls: the calls that are quotations in the output.
    """

    tokens: tuple[int, ...]
    max_tokens: int
    sampling: Sampling
    grammar: str | None = None
    tools: tuple[Tool, ...] = ()
    calls: CallGrammar | None = None
    most_calls: int | None = None
    reasoning_end: str = ""
    prefix_tokens: int = 0
    stepwise_tokens: int = 0
    common_tokens: int = 0
    quoted_marks: frozenset[str] = frozenset()
    quoted_calls: QuotedCalls = NONE_QUOTED
    closing_tokens: int = 0


class Prompter:
    """Makes prompts for one loaded model. Raises EngineError if it has no usable template."""

    def __init__(self, model: LlamaModel) -> None:
        self._vocabulary = model.vocabulary
        self._window = model.window
        self._faults = model.faults
        if model.facts.encoder:
            raise model.faults.unsupported(
                f"the architecture {model.facts.architecture!r} computes vectors, not answers",
                "Use it for embeddings, and a chat model for answers.",
            )
        self._template = _template(model)
        self._opening_of = functools.lru_cache(maxsize=OPENINGS)(self._render_opening)

    def prompt(self, request: GenerationRequest) -> TokenizedRequest:
        """Return the tokens of `request`.

        Raises EngineError: bad_request, unsupported, context_overflow.
        """
        check(request.sampling, self._vocabulary.size, self._faults)
        if request.tool_choice_problem:
            raise self._faults.bad_request(
                request.tool_choice_problem, "Offer the tool, or change the choice."
            )
        if any(message.images for message in request.messages):
            raise self._faults.unsupported(
                "the request has an image, and models in this process cannot see",
                "Use a track whose model can, such as llama-server with a projector.",
            )
        offered = () if request.tool_choice == "none" else request.tools
        text = self._render(request.messages, offered, request.tool_rules)
        if request.prefix or request.must_call:
            text = open_answer(text)  # what follows belongs to the answer, not to its reasoning
        opening = tokens = self._vocabulary.tokenize(text)
        if request.prefix:
            tokens = self._with_prefix(text, request.prefix, opening)
        begun = len(tokens) - len(opening)
        if not tokens:
            raise self._faults.bad_request(
                "the messages make an empty prompt", "Add text to a message."
            )
        room = self._window - len(tokens)
        if room < 1:
            raise self._overflow(len(tokens), request.messages)
        grammar, calls = self._grammars(request)
        return TokenizedRequest(
            tokens=tuple(tokens),
            max_tokens=min(room, request.sampling.max_tokens or room),
            sampling=request.sampling,
            grammar=grammar,
            tools=offered,
            calls=calls,
            most_calls=request.most_calls,
            reasoning_end="" if request.prefix else reasoning_end(text),
            quoted_marks=quoted_marks(request.messages),
            quoted_calls=quoted_calls(request.messages, must_call=request.must_call),
            closing_tokens=_closing_tokens(request),
            prefix_tokens=begun,
            stepwise_tokens=begun if begun <= LONGEST_WRITTEN else 0,
            common_tokens=self._common_tokens(request, tokens),
        )

    def _grammars(self, request: GenerationRequest) -> tuple[str | None, CallGrammar | None]:
        """Return the grammar of the answer, and those of its calls.

        A call that has to be made takes the place of the answer. Any other answer has the grammar
        of the request; without one, what follows the beginning of a call has that of calls.
        """
        grammar = grammar_for(request.sampling, self._faults, checked=request.checked)
        tools = request.callable_tools
        if not tools:
            return grammar, None
        form, native = format_of(self._template.source)
        if not request.must_call and (grammar is not None or not native):
            return grammar, None
        calls = call_grammar(form, tools, parallel=request.parallel_tool_calls)
        return (calls.whole if request.must_call else None), calls

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of `messages` as a prompt, up to the answer."""
        return self._vocabulary.tokenize(self._render(messages))

    def count_texts(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, as it would be inside a message."""
        clean, tokenize = self._vocabulary.defuse, self._vocabulary.tokenize
        return [len(tokenize(clean(text), start=False)) for text in texts]

    def count_tools(self, tools: Sequence[Tool]) -> ToolCounts:
        """Count the tokens of tools as the model's template writes them. Raises EngineError."""
        return count_tools(
            tools,
            lambda messages, given: len(self._vocabulary.tokenize(self._render(messages, given))),
        )

    def _common_tokens(self, request: GenerationRequest, tokens: Sequence[int]) -> int:
        """Return how many of the first tokens come from the messages that are no user's."""
        if not request.common:
            return 0
        opening = self._opening_of(request.messages[: request.common])
        return common_prefix(opening, tokens, min(len(opening), len(tokens)))

    def _render_opening(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        """Return the tokens that begin every prompt which begins with `messages`."""
        try:
            first, second = (self.tokens((*messages, Message("user", text))) for text in ("A", "7"))
        except EngineError:  # a template that refuses these messages shares nothing
            return ()
        return tuple(first[: common_prefix(first, second, min(len(first), len(second)))])

    @property
    def writes_calls(self) -> bool:
        """Whether the template has no place for tools, so that the system prompt describes them."""
        return not self._template.knows_tools

    def _render(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), rules: str = ""
    ) -> str:
        clean = self._vocabulary.defuse
        if not self._template.knows_tools:
            messages, tools = written(messages, tools, rules), ()
        messages = arranged(messages, self._template.rules)
        try:
            return self._template.render(messages, tools=tools, clean=clean)
        except ChatTemplateError as error:
            raise self._faults.bad_request(
                f"the model's chat template refuses the messages: {error}",
                "Check their roles and order: many models want user and assistant in turn.",
            ) from error

    def _with_prefix(self, text: str, prefix: str, opening: list[int]) -> list[int]:
        """Return the prompt with the beginning of the answer, as the model would have written it.

        Tokens never merge across the beginning of the answer.
        """
        prefix = self._vocabulary.defuse(prefix)
        together = self._vocabulary.tokenize(text + prefix)
        if together[: len(opening)] == opening:
            return together
        return opening + self._vocabulary.tokenize(prefix, start=False)

    def _overflow(self, count: int, messages: Sequence[Message]) -> EngineError:
        excess = count + 1 - self._window
        last = len(self._vocabulary.tokenize(messages[-1].content)) if messages else 0
        what = "the last message" if last > excess else "the conversation"
        return self._faults.error(
            ErrorKind.CONTEXT_OVERFLOW,
            f"the prompt has {count} tokens, {excess} more than the window of {self._window} "
            "holds with one token of the answer",
            f"Cut {excess} tokens or more from {what}, or widen the track's 'window'.",
        )


def _template(model: LlamaModel) -> ChatTemplate:
    """Return the best template that compiles. Raises EngineError if there is none."""
    faults, vocabulary = model.faults, model.vocabulary
    refused = ["the file has no chat template, and its family is unknown"]
    for whose, source in sources(model.file, model.facts, vocabulary):
        try:
            return ChatTemplate(source, bos=vocabulary.bos, eos=vocabulary.eos)
        except ChatTemplateError as error:
            refused.insert(0, f"{whose} chat template cannot be used: {error}")
    raise faults.unsupported(
        refused[0],
        "Use a file of an instruct model that brings its own, or name the family in the registry "
        f"(chat_template = one of {', '.join(FAMILIES)}).",
    )


def _closing_tokens(request: GenerationRequest) -> int:
    """Return the tokens that close the JSON of an answer which its caller checks."""
    schema = request.sampling.json_schema
    return closing_tokens(schema) if request.checked and schema is not None else 0
