"""The next token from logits: the sampler chain of one request, its grammar, and logprobs.

The order of the chain, and the values of parameters that a request leaves open, are llama.cpp's own
(common/sampling.cpp).

llama.cpp converts a whole vocabulary into its candidate array for every token that it samples, and
sorts it: 0.4 ms for 49,000 tokens, a twentieth of a small model's step. Usually only the most
likely tokens can be chosen, and these are found without sorting (`top_tokens`).

Invariant: a sampler never accepts a token that its grammar forbids, since llama.cpp would end the
process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import numpy as np

from vanta import Sampling, TokenLogprob
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model import Vocabulary
from vanta_llamacpp.sampling.checks import MAX_TOP_LOGPROBS

DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
PENALTY_WINDOW = 64
DRY_BASE, DRY_ALLOWED = 1.75, 2
DRY_BREAKERS = (b"\n", b":", b'"', b"*")
_RANDOM_SEED = 0xFFFFFFFF
_BLOCK = 64


class Sampler:
    """Samples the tokens of one request; used by the worker's thread only.

    :param lib: the native library.
    :param vocabulary: the model's vocabulary.
    :param sampling: the request's parameters, which `check` has accepted.
    :param grammar: GBNF that the answer must follow, or None.
    :param faults: makes the errors.
    :param shortlist: False always samples from the whole vocabulary. The tokens are the same.
    :raises EngineError: `bad_request` if the grammar cannot be compiled.
    """

    def __init__(
        self,
        lib: Any,
        vocabulary: Vocabulary,
        sampling: Sampling,
        grammar: str | None,
        faults: Faults,
        *,
        shortlist: bool = True,
    ) -> None:
        self._lib = lib
        self._vocabulary = vocabulary
        self._faults = faults
        self._top_logprobs = sampling.logprobs
        self._candidates = Candidates(lib, vocabulary.size)
        self._grammar = self._compile(grammar) if grammar is not None else None
        try:
            self._chain = _chain(lib, vocabulary, sampling)
        except Exception:
            self._free_grammar()
            raise
        self._shortlist = _shortlist_size(sampling) if shortlist else None
        biased = [token for token in sampling.logit_bias if 0 <= token < vocabulary.size]
        self._biased = np.array(biased, dtype=np.int64)

    def constrain(self, grammar: str) -> None:
        """Let the rest of the answer follow `grammar`, if no grammar applies yet.

        :param grammar: GBNF of what follows the last accepted token.
        """
        if self._grammar is None:
            self._grammar = self._compile(grammar)

    def _compile(self, grammar: str) -> Any:
        native = self._lib.llama_sampler_init_grammar(
            self._vocabulary.native, grammar.encode(), b"root"
        )
        if not native:
            raise self._faults.bad_request(
                "the grammar is not valid GBNF, has no rule 'root', or is left-recursive",
                "The format: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md",
            )
        return native

    def accept_prompt(self, tokens: Iterable[int]) -> None:
        """Count the end of the prompt in the penalties. A grammar applies to the answer only."""
        for token in tokens:
            self._lib.llama_sampler_accept(self._chain, token)

    def accept_prefix(self, tokens: Iterable[int]) -> None:
        """Advance the grammar over the given prefix of the answer.

        :raises EngineError: `bad_request` if the grammar allows no such prefix.
        """
        for token in tokens if self._grammar is not None else ():
            if not self._candidates.allowed(token, self._grammar):
                raise self._faults.bad_request(
                    "the grammar or schema allows no answer that begins with the given prefix",
                    "Remove one of them, or begin the prefix as the grammar requires.",
                )
            self._lib.llama_sampler_accept(self._grammar, token)

    def sample(self, context: Any, index: int, *, closing: bool = False) -> int:
        """Sample and accept the token after the batch's token at `index`.

        With `closing`, values of JSON that a grammar allows to end do so, and then the answer.

        The token is drawn without the grammar. Only if the grammar rejects it, the grammar is
        applied to the whole vocabulary: as llama.cpp does, since that is far cheaper.
        """
        logits = _logits(self._lib, context, index, self._vocabulary.size)
        closer = self._closer() if closing and self._grammar is not None else None
        token = self.draw(logits) if closer is None else closer
        if self._grammar is not None:
            if not self._candidates.allowed(token, self._grammar):
                token = self._draw_by_grammar(logits)
            self._lib.llama_sampler_accept(self._grammar, token)
        self._lib.llama_sampler_accept(self._chain, token)
        return token

    def _closer(self) -> int | None:
        """Return the allowed token that brings the answer nearest to its end, None for none."""
        closers = self._vocabulary.closers
        allowed = {
            text
            for text, token in closers.items()
            if self._candidates.allowed(token, self._grammar)
        }
        in_text = "z" in allowed and "}" in allowed
        order = ('"',) if in_text else ("", "}", "]", '"')
        return next((closers[text] for text in order if text in allowed), None)

    def draw(self, logits: Any) -> int:
        """Draw a token by the sampler chain, without the grammar and without accepting it.

        :param logits: float32, one for each token of the vocabulary.
        """
        if self._shortlist == 1:
            return int(logits.argmax())
        if self._shortlist is None:
            return self._candidates.draw(logits, self._chain)[0]
        ids = top_tokens(logits, self._shortlist)
        if len(self._biased):
            ids = np.union1d(ids, self._biased)
        return self._candidates.draw_among(ids, logits, self._chain)[0]

    def _draw_by_grammar(self, logits: Any) -> int:
        token, logit = self._candidates.draw(logits, self._grammar, self._chain)
        if logit == -np.inf:
            raise self._faults.bad_request(
                "the grammar allows no further token", "Check the grammar and 'logit_bias'."
            )
        return token

    def logprob(self, context: Any, index: int, token: int) -> TokenLogprob | None:
        """Return the model's logprobs of `token` and of the top tokens, before any sampling."""
        if self._top_logprobs is None:
            return None
        logits = _logits(self._lib, context, index, self._vocabulary.size).astype(np.float64)
        highest = logits.max()
        logits -= highest + np.log(np.exp(logits - highest).sum())
        best: Any = ()
        if self._top_logprobs:
            best = np.argpartition(logits, -MAX_TOP_LOGPROBS)[-MAX_TOP_LOGPROBS:]
        top = sorted(best, key=lambda other: -logits[other])[: self._top_logprobs]
        return TokenLogprob(
            self._text(token),
            min(0.0, float(logits[token])),
            tuple((self._text(int(other)), min(0.0, float(logits[other]))) for other in top),
        )

    def _text(self, token: int) -> str:
        return self._vocabulary.piece(token).decode("utf-8", "replace")

    def close(self) -> None:
        """Free the native samplers; called once."""
        self._lib.llama_sampler_free(self._chain)
        self._free_grammar()

    def _free_grammar(self) -> None:
        if self._grammar is not None:
            self._lib.llama_sampler_free(self._grammar)


class Candidates:
    """The arrays that llama.cpp's samplers work on, for a vocabulary of `size` tokens.

    Invariant: the rows are refilled before every draw, since samplers reorder them.
    """

    def __init__(self, lib: Any, size: int) -> None:
        self._lib = lib
        self._dtype = np.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])
        self._all = np.arange(size, dtype="i4")
        self._rows: Any = None

    def draw(self, logits: Any, *samplers: Any) -> tuple[int, float]:
        """Apply `samplers` in turn to all tokens; return the chosen token and its final logit."""
        if self._rows is None:
            self._rows = np.zeros(len(self._all), dtype=self._dtype)
        return self._draw(self._rows, self._all, logits, samplers)

    def draw_among(self, ids: Any, logits: Any, *samplers: Any) -> tuple[int, float]:
        """Draw among the tokens `ids` only; `logits` are those of all tokens."""
        return self._draw(np.zeros(len(ids), dtype=self._dtype), ids, logits[ids], samplers)

    def _draw(self, rows: Any, ids: Any, logits: Any, samplers: Any) -> tuple[int, float]:
        rows["id"] = ids
        rows["logit"] = logits
        array = self._array(rows)
        for sampler in samplers:
            self._lib.llama_sampler_apply(sampler, ctypes.byref(array))
        chosen = array.data[array.selected]
        return int(chosen.id), float(chosen.logit)

    def allowed(self, token: int, grammar: Any) -> bool:
        """Return whether `grammar` allows `token` next."""
        row = np.array([(token, 1.0, 0.0)], dtype=self._dtype)
        array = self._array(row)
        self._lib.llama_sampler_apply(grammar, ctypes.byref(array))
        return bool(np.isfinite(array.data[0].logit))

    def _array(self, rows: Any) -> Any:
        data = rows.ctypes.data_as(self._lib.llama_token_data_p)
        return self._lib.llama_token_data_array(data, len(rows), -1, False)


def top_tokens(logits: Any, count: int) -> Any:
    """Return the ids of the `count` highest logits, and of a few more, in ascending order.

    Takes the highest logit of each block. At least `count` tokens reach the block maximum of rank
    `count`, so it is a floor for the tokens to return.
    """
    blocks = len(logits) // _BLOCK
    if not 0 < count < blocks:
        return np.arange(len(logits))
    highest = logits[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
    floor = np.partition(highest, blocks - count)[blocks - count]
    return np.flatnonzero(~(logits < floor))  # all of them if the floor is NaN


def _chain(lib: Any, vocabulary: Vocabulary, sampling: Sampling) -> Any:
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    for sampler in _logit_samplers(lib, vocabulary, sampling):
        lib.llama_sampler_chain_add(chain, sampler)
    greedy = _value(sampling, "temperature") <= 0
    choosing = [lib.llama_sampler_init_greedy()] if greedy else _choosing_samplers(lib, sampling)
    for sampler in choosing:
        lib.llama_sampler_chain_add(chain, sampler)
    return chain


def _shortlist_size(sampling: Sampling) -> int | None:
    """Return how many of the most likely tokens are sure to include the chosen one.

    1 is plain greedy sampling. None stands for all tokens: nothing is cut, or unlikely tokens are
    raised. Penalties and biases can lower a token, so the list grows by the penalty window and by
    the number of biases; raised tokens are added in `draw`.
    """
    limit = 1 if _value(sampling, "temperature") <= 0 else int(_value(sampling, "top_k"))
    repeat = 1.0 if sampling.repeat_penalty is None else sampling.repeat_penalty
    penalties = (sampling.frequency_penalty or 0.0, sampling.presence_penalty or 0.0)
    if limit < 1 or repeat < 1 or min(penalties) < 0:
        return None
    lowered = bool(repeat > 1 or max(penalties) > 0 or sampling.dry_multiplier) * PENALTY_WINDOW
    return limit + lowered + len(sampling.logit_bias)


def _logit_samplers(lib: Any, vocabulary: Vocabulary, sampling: Sampling) -> Iterable[Any]:
    """Yield the samplers that change logits, which apply to greedy sampling too."""
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


def _choosing_samplers(lib: Any, sampling: Sampling) -> Iterable[Any]:
    """Yield the samplers that cut unlikely tokens and draw among the rest."""
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
    """Return a seed for llama.cpp, whose highest one means "random"."""
    return _RANDOM_SEED if seed is None else seed % _RANDOM_SEED


def _logits(lib: Any, context: Any, index: int, size: int) -> Any:
    """Return a view of the logits, valid until the next step."""
    address = ctypes.cast(lib.llama_get_logits_ith(context, index), ctypes.c_void_p).value
    if not address:
        raise ValueError(f"llama.cpp has no logits for token {index} of the batch")
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address))
