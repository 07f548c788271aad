"""One answer in the making: which tokens go into the next step, and what comes out of it.

It knows nothing of threads, batches or other requests: whoever serves it asks for `pending`,
decodes them at `position`, says where it has `moved_to`, and lets it `choose` from the logits
of the last when none is `left`.
Invariant: every token chosen is counted, and the last delta carries reason, usage and timings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from vanta.messages import Delta, FinishReason
from vanta_llamacpp.model.model import LlamaModel
from vanta_llamacpp.prompt.output_parser import OutputParser, ParsedOutput
from vanta_llamacpp.sampling.sampler import PENALTY_WINDOW, Sampler
from vanta_llamacpp.sampling.stops import Piece, TextAssembler
from vanta_llamacpp.worker.job import Job
from vanta_llamacpp.worker.slots import Slot


class Generation:
    """Made and closed by the worker. `kept` tokens of the prompt are in `slot` already."""

    def __init__(self, model: LlamaModel, job: Job, slot: Slot, kept: int) -> None:
        prompt = job.prompt
        self.job = job
        self.slot = slot
        self.position = kept
        self.done = False
        self._model = model
        self._tokens = list(prompt.tokens)
        self._text = TextAssembler(prompt.sampling.stop)
        self._marks = OutputParser(tools=prompt.tools, reasoning=prompt.reasoning)
        self._sampler = Sampler(
            model.lib, model.vocabulary, prompt.sampling, prompt.grammar, model.faults
        )
        self._sampler.see(prompt.tokens[-PENALTY_WINDOW:])
        try:
            self._sampler.go_along(prompt.tokens[len(prompt.tokens) - prompt.begun :])
        except Exception:
            self._sampler.close()
            raise
        job.cached_tokens = job.read_tokens = kept

    def pending(self, most: int) -> Sequence[int]:
        """The next tokens to decode, `most` of them at the most."""
        return self._tokens[self.position : self.position + most]

    @property
    def left(self) -> int:
        """Tokens to decode before one can be chosen: 1 while the answer is being written."""
        return len(self._tokens) - self.position

    def moved_to(self, position: int) -> None:
        """So many tokens, of the prompt and of the answer so far, are in the KV cache now."""
        self.position = position
        job = self.job
        job.read_tokens = max(job.read_tokens, min(position, len(job.prompt.tokens)))

    def choose(self, index: int) -> None:
        """Choose a token from the logits at `index` of the batch, and tell what it says."""
        model, job = self._model, self.job
        token = self._sampler.sample(model.context, index)
        job.chose()
        if model.vocabulary.is_end(token):
            self._finish(Piece(), "stop")
            return
        logprob = self._sampler.logprob(model.context, index, token)
        job.count()
        shown = model.vocabulary.piece(
            token, calls=job.prompt.tools, thoughts=self._marks.may_think
        )
        piece = self._text.add(shown, logprob)
        if self._text.stopped is not None:
            self._finish(piece, "stop")
        elif job.output_tokens >= job.prompt.limit:
            self._finish(piece, "length")
        else:
            self._tokens.append(token)
            said = self._marks.add(piece.text)
            if said or piece.logprobs:
                job.mailbox.put(_delta(said, piece))

    def _finish(self, piece: Piece, reason: FinishReason) -> None:
        rest = self._text.finish()
        piece = Piece(piece.text + rest.text, piece.logprobs + rest.logprobs)
        said = self._marks.add(piece.text) + self._marks.finish()
        self.done = self.job.finished = True
        self.job.mailbox.put(
            dataclasses.replace(
                _delta(said, piece),
                finish_reason="tool_calls" if self._marks.calls else reason,
                usage=self.job.usage(),
                timings=self.job.timings(),
                model=self.job.model,
            )
        )

    def close(self) -> None:
        """Free the sampler."""
        self._sampler.close()


def _delta(said: ParsedOutput, piece: Piece) -> Delta:
    return Delta(
        text=said.text, reasoning=said.reasoning, tool_calls=said.calls, logprobs=piece.logprobs
    )
