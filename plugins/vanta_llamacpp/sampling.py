"""From logits to the next token: the sampler chain of one request, its grammar, and logprobs.

The chain's order and the values for what a request leaves open are llama.cpp's own
(common/sampling.cpp). Invariant: a sampler never accepts a token that its grammar forbids: the
library would end the process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vanta.engine import Sampling
from vanta.messages import TokenLogprob
from vanta_llamacpp.faults import Faults
from vanta_llamacpp.schema import SchemaFault, grammar_of
from vanta_llamacpp.vocabulary import Vocabulary

DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
PENALTY_WINDOW = 64
LONGEST_GRAMMAR = 64 * 1024
DEEPEST_GRAMMAR = 1000
_MOST_RIVALS = 20
_RANDOM_SEED = 0xFFFFFFFF


def check(sampling: Sampling, vocabulary_size: int, faults: Faults) -> None:
    """Raise `bad_request` for values that make no sense; cheap, needs no library."""
    ranges: dict[str, tuple[float, float]] = {
        "max_tokens": (1, 1 << 30),
        "temperature": (0, 100),
        "top_p": (0, 1),
        "top_k": (0, 1 << 30),
        "min_p": (0, 1),
        "repeat_penalty": (0.01, 100),
        "presence_penalty": (-100, 100),
        "frequency_penalty": (-100, 100),
        "logprobs": (0, _MOST_RIVALS),
    }
    for name, (least, most) in ranges.items():
        value = getattr(sampling, name)
        if value is not None and not least <= value <= most:
            raise faults.bad_request(f"{name!r} is {value}; {least:g} to {most:g} make sense")
    if "" in sampling.stop:
        raise faults.bad_request("a stop string is empty", "Remove it.")
    for token in sampling.logit_bias:
        if not 0 <= token < vocabulary_size:
            raise faults.bad_request(f"'logit_bias' names {token}, no token of {vocabulary_size}")
    if sampling.grammar is not None and sampling.json_schema is not None:
        raise faults.bad_request("both 'grammar' and 'json_schema' are set", "Leave one out.")


def gbnf(sampling: Sampling, faults: Faults) -> str | None:
    """The grammar that the answer must follow, None for none. Raises EngineError."""
    grammar = sampling.grammar
    if sampling.json_schema is not None:
        try:
            grammar = grammar_of(sampling.json_schema)
        except SchemaFault as error:
            raise faults.unsupported(f"the JSON schema cannot be kept: {error}") from error
    if grammar is not None and (
        len(grammar) > LONGEST_GRAMMAR or _depth(grammar) > DEEPEST_GRAMMAR
    ):
        raise faults.bad_request(
            f"the grammar has {len(grammar)} characters, {_depth(grammar)} levels deep; "
            f"{LONGEST_GRAMMAR} and {DEEPEST_GRAMMAR} are allowed",
            "Simplify it; in a schema, lower 'maxLength' and 'maxItems'.",
        )
    return grammar


class Sampler:
    """Chooses tokens for one request; owned by the worker, freed by `close`."""

    def __init__(
        self,
        lib: Any,
        vocabulary: Vocabulary,
        sampling: Sampling,
        grammar: str | None,
        faults: Faults,
    ) -> None:
        self._lib = lib
        self._vocabulary = vocabulary
        self._faults = faults
        self._rivals = sampling.logprobs
        self._grammar = self._compiled(grammar) if grammar is not None else None
        self._candidates = _Candidates(lib, vocabulary.size) if self._grammar else None
        self._chain = _chain(lib, vocabulary.size, sampling)

    def _compiled(self, grammar: str) -> Any:
        made = self._lib.llama_sampler_init_grammar(
            self._vocabulary.native, grammar.encode(), b"root"
        )
        if not made:
            raise self._faults.bad_request(
                "the grammar is not valid GBNF, or has no rule 'root', or is left-recursive",
                "The format: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md",
            )
        return made

    def see(self, tokens: Iterable[int]) -> None:
        """Let the penalties count the end of the prompt; a grammar rules the answer alone."""
        for token in tokens:
            self._lib.llama_sampler_accept(self._chain, token)

    def sample(self, context: Any, index: int) -> int:
        """The next token after the batch's token at `index`, already counted in."""
        if self._grammar is None or self._candidates is None:
            return int(self._lib.llama_sampler_sample(self._chain, context, index))
        return self._constrained(self._candidates, _logits(self._lib, context, index, self._size))

    @property
    def _size(self) -> int:
        return self._vocabulary.size

    def _constrained(self, candidates: _Candidates, logits: Any) -> int:
        """Draw freely first and ask the grammar about that one token; only if it says no, let it
        go through the whole vocabulary (as llama.cpp does: far cheaper)."""
        token, _ = candidates.draw(logits, self._chain)
        if not candidates.allowed(token, self._grammar):
            token, logit = candidates.draw(logits, self._grammar, self._chain)
            if logit == -np.inf:
                raise self._faults.bad_request(
                    "the grammar leaves no token to go on with", "Check it, and 'logit_bias'."
                )
        self._lib.llama_sampler_accept(self._grammar, token)
        self._lib.llama_sampler_accept(self._chain, token)
        return token

    def logprob(self, context: Any, index: int, token: int) -> TokenLogprob | None:
        """The model's own probability of `token` before any sampling, and of its rivals."""
        if self._rivals is None:
            return None
        logits = _logits(self._lib, context, index, self._size).astype(np.float64)
        highest = logits.max()
        logits -= highest + np.log(np.exp(logits - highest).sum())
        best = np.argpartition(logits, -_MOST_RIVALS)[-_MOST_RIVALS:] if self._rivals else ()
        top = sorted(best, key=lambda rival: -logits[rival])[: self._rivals]
        return TokenLogprob(
            self._text(token),
            min(0.0, float(logits[token])),
            tuple((self._text(int(rival)), min(0.0, float(logits[rival]))) for rival in top),
        )

    def _text(self, token: int) -> str:
        return self._vocabulary.piece(token).decode("utf-8", "replace")

    def close(self) -> None:
        """Free the samplers."""
        self._lib.llama_sampler_free(self._chain)
        if self._grammar is not None:
            self._lib.llama_sampler_free(self._grammar)


class _Candidates:
    """The whole vocabulary as the array that samplers sort, cut and choose from."""

    def __init__(self, lib: Any, size: int) -> None:
        self._lib = lib
        self._rows = np.zeros(size, dtype=[("id", "i4"), ("logit", "f4"), ("p", "f4")])
        self._ids = np.arange(size, dtype="i4")

    def draw(self, logits: Any, *samplers: Any) -> tuple[int, float]:
        """Apply `samplers` in turn; returns the chosen token and its logit then."""
        self._rows["id"] = self._ids
        self._rows["logit"] = logits
        array = self._array(self._rows)
        for sampler in samplers:
            self._lib.llama_sampler_apply(sampler, ctypes.byref(array))
        chosen = array.data[array.selected]
        return int(chosen.id), float(chosen.logit)

    def allowed(self, token: int, grammar: Any) -> bool:
        """Whether `grammar` lets `token` follow."""
        row = np.array([(token, 1.0, 0.0)], dtype=self._rows.dtype)
        array = self._array(row)
        self._lib.llama_sampler_apply(grammar, ctypes.byref(array))
        return bool(np.isfinite(array.data[0].logit))

    def _array(self, rows: Any) -> Any:
        data = rows.ctypes.data_as(self._lib.llama_token_data_p)
        return self._lib.llama_token_data_array(data, len(rows), -1, False)


def _chain(lib: Any, size: int, sampling: Sampling) -> Any:
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    for sampler in _samplers(lib, size, sampling):
        lib.llama_sampler_chain_add(chain, sampler)
    return chain


def _samplers(lib: Any, size: int, sampling: Sampling) -> Iterable[Any]:
    bias = [lib.llama_logit_bias(token, value) for token, value in sampling.logit_bias.items()]
    if bias:
        yield lib.llama_sampler_init_logit_bias(
            size, len(bias), (lib.llama_logit_bias * len(bias))(*bias)
        )
    repeat = 1.0 if sampling.repeat_penalty is None else sampling.repeat_penalty
    frequency, presence = sampling.frequency_penalty or 0.0, sampling.presence_penalty or 0.0
    if (repeat, frequency, presence) != (1.0, 0.0, 0.0):
        yield lib.llama_sampler_init_penalties(size, PENALTY_WINDOW, repeat, frequency, presence)
    temperature = _value(sampling, "temperature")
    if temperature <= 0:
        yield lib.llama_sampler_init_greedy()
        return
    yield lib.llama_sampler_init_top_k(int(_value(sampling, "top_k")))
    yield lib.llama_sampler_init_top_p(_value(sampling, "top_p"), 1)
    yield lib.llama_sampler_init_min_p(_value(sampling, "min_p"), 1)
    yield lib.llama_sampler_init_temp(temperature)
    yield lib.llama_sampler_init_dist(_seed(sampling.seed))


def _value(sampling: Sampling, name: str) -> float:
    value = getattr(sampling, name)
    return DEFAULTS[name] if value is None else float(value)


def _seed(seed: int | None) -> int:
    """A seed for the library, whose highest one means "at random"."""
    return _RANDOM_SEED if seed is None else seed % _RANDOM_SEED


def _logits(lib: Any, context: Any, index: int, size: int) -> Any:
    return np.ctypeslib.as_array(lib.llama_get_logits_ith(context, index), shape=(size,))


def _depth(grammar: Sequence[str] | str) -> int:
    depth = deepest = 0
    for character in grammar:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest
