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
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model.vocabulary import Vocabulary
from vanta_llamacpp.sampling.candidates import Candidates, likeliest
from vanta_llamacpp.sampling.checks import MOST_RIVALS

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
        self._candidates = Candidates(lib, vocabulary.size)
        self._grammar = self._compiled(grammar) if grammar is not None else None
        try:
            self._chain = _chain(lib, vocabulary, sampling)
        except Exception:
            self._free_grammar()
            raise
        self._short = _shortlist(sampling)
        known = [token for token in sampling.logit_bias if 0 <= token < vocabulary.size]
        self._biased = np.array(known, dtype=np.int64)

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

    def go_along(self, tokens: Iterable[int]) -> None:
        """Let the grammar go along with a beginning of the answer that is given. Raises
        `bad_request` where it allows no such beginning."""
        for token in tokens if self._grammar is not None else ():
            if not self._candidates.allowed(token, self._grammar):
                raise self._faults.bad_request(
                    "the grammar or schema allows no answer that begins with the given prefix",
                    "Leave one of them out, or begin as the grammar does.",
                )
            self._lib.llama_sampler_accept(self._grammar, token)

    def sample(self, context: Any, index: int) -> int:
        """The next token after the batch's token at `index`, already counted in.

        Drawn freely first; the grammar is asked about that one token, and only if it says no, it
        goes through the whole vocabulary (as llama.cpp does: far cheaper).
        """
        logits = _logits(self._lib, context, index, self._vocabulary.size)
        token = self._drawn(logits)
        if self._grammar is not None:
            if not self._candidates.allowed(token, self._grammar):
                token = self._forced(logits)
            self._lib.llama_sampler_accept(self._grammar, token)
        self._lib.llama_sampler_accept(self._chain, token)
        return token

    def _drawn(self, logits: Any) -> int:
        if self._short == 1:
            return int(logits.argmax())
        if self._short is None:
            return self._candidates.draw(logits, self._chain)[0]
        ids = likeliest(logits, self._short)
        if len(self._biased):
            ids = np.union1d(ids, self._biased)
        return self._candidates.draw_among(ids, logits, self._chain)[0]

    def _forced(self, logits: Any) -> int:
        token, logit = self._candidates.draw(logits, self._grammar, self._chain)
        if logit == -np.inf:
            raise self._faults.bad_request(
                "the grammar leaves no token to go on with", "Check it, and 'logit_bias'."
            )
        return token

    def logprob(self, context: Any, index: int, token: int) -> TokenLogprob | None:
        """The model's own probability of `token` before any sampling, and of its rivals."""
        if self._rivals is None:
            return None
        logits = _logits(self._lib, context, index, self._vocabulary.size).astype(np.float64)
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
        self._free_grammar()

    def _free_grammar(self) -> None:
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


def _shortlist(sampling: Sampling) -> int | None:
    """Among how many of the likeliest tokens the chosen one is sure to be: 1 is greedy with no
    weighing at all; None for all tokens, where nothing is cut or the unlikely are raised.

    Lowered can be those of the penalties' window and those with a bias: at the most that many of
    the likeliest are replaced by others. What is raised is added (`_drawn`).
    """
    most = 1 if _value(sampling, "temperature") <= 0 else int(_value(sampling, "top_k"))
    repeat = 1.0 if sampling.repeat_penalty is None else sampling.repeat_penalty
    added = (sampling.frequency_penalty or 0.0, sampling.presence_penalty or 0.0)
    if most < 1 or repeat < 1 or min(added) < 0:
        return None
    lowered = bool(repeat > 1 or max(added) > 0 or sampling.dry_multiplier) * PENALTY_WINDOW
    return most + lowered + len(sampling.logit_bias)


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
    """A view, until the next step."""
    address = ctypes.cast(lib.llama_get_logits_ith(context, index), ctypes.c_void_p).value
    if not address:
        raise ValueError(f"llama.cpp has no logits for token {index} of the batch")
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address))
