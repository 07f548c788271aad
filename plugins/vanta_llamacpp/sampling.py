"""From logits to the next token: the sampler chain of one request, its grammar, and logprobs.

The chain's order and the values for what a request leaves open are llama.cpp's own
(common/sampling.cpp). Invariant: a sampler never accepts a token that its grammar forbids: the
library would end the process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import numpy as np

from vanta.engine import Sampling
from vanta.messages import TokenLogprob
from vanta_llamacpp.candidates import Candidates
from vanta_llamacpp.demands import MOST_RIVALS
from vanta_llamacpp.faults import Faults
from vanta_llamacpp.vocabulary import Vocabulary

DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
PENALTY_WINDOW = 64
DRY_BASE, DRY_ALLOWED = 1.75, 2
DRY_BREAKERS = (b"\n", b":", b'"', b"*")
_RANDOM_SEED = 0xFFFFFFFF


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
        self._candidates = Candidates(lib, vocabulary.size) if self._grammar else None
        self._chain = _chain(lib, vocabulary, sampling)

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

    def _constrained(self, candidates: Candidates, logits: Any) -> int:
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
        best = np.argpartition(logits, -MOST_RIVALS)[-MOST_RIVALS:] if self._rivals else ()
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


def _chain(lib: Any, vocabulary: Vocabulary, sampling: Sampling) -> Any:
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    temperature = _value(sampling, "temperature")
    for sampler in _weighing(lib, vocabulary, sampling):
        lib.llama_sampler_chain_add(chain, sampler)
    choosing = _drawing(lib, sampling) if temperature > 0 else [lib.llama_sampler_init_greedy()]
    for sampler in choosing:
        lib.llama_sampler_chain_add(chain, sampler)
    return chain


def _weighing(lib: Any, vocabulary: Vocabulary, sampling: Sampling) -> Iterable[Any]:
    """What changes the logits, for greedy choice too."""
    size = vocabulary.size
    bias = [lib.llama_logit_bias(token, value) for token, value in sampling.logit_bias.items()]
    if bias:
        yield lib.llama_sampler_init_logit_bias(
            size, len(bias), (lib.llama_logit_bias * len(bias))(*bias)
        )
    repeat = 1.0 if sampling.repeat_penalty is None else sampling.repeat_penalty
    frequency, presence = sampling.frequency_penalty or 0.0, sampling.presence_penalty or 0.0
    if (repeat, frequency, presence) != (1.0, 0.0, 0.0):
        yield lib.llama_sampler_init_penalties(size, PENALTY_WINDOW, repeat, frequency, presence)
    if sampling.dry_multiplier:
        breakers = (ctypes.c_char_p * len(DRY_BREAKERS))(*DRY_BREAKERS)
        yield lib.llama_sampler_init_dry(
            vocabulary.native,
            sampling.dry_multiplier,
            DRY_BASE,
            DRY_ALLOWED,
            PENALTY_WINDOW,
            breakers,
            len(DRY_BREAKERS),
        )


def _drawing(lib: Any, sampling: Sampling) -> Iterable[Any]:
    """What cuts the unlikely and draws among the rest."""
    yield lib.llama_sampler_init_top_k(int(_value(sampling, "top_k")))
    if sampling.typical_p is not None:
        yield lib.llama_sampler_init_typical(sampling.typical_p, 1)
    yield lib.llama_sampler_init_top_p(_value(sampling, "top_p"), 1)
    yield lib.llama_sampler_init_min_p(_value(sampling, "min_p"), 1)
    yield lib.llama_sampler_init_temp(_value(sampling, "temperature"))
    yield lib.llama_sampler_init_dist(_seed(sampling.seed))


def _value(sampling: Sampling, name: str) -> float:
    value = getattr(sampling, name)
    return DEFAULTS[name] if value is None else float(value)


def _seed(seed: int | None) -> int:
    """A seed for the library, whose highest one means "at random"."""
    return _RANDOM_SEED if seed is None else seed % _RANDOM_SEED


def _logits(lib: Any, context: Any, index: int, size: int) -> Any:
    return np.ctypeslib.as_array(lib.llama_get_logits_ith(context, index), shape=(size,))
