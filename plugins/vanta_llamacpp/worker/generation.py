"""One answer: its next tokens to decode, and the deltas made of the sampled ones.

It knows nothing of threads, batches or other requests. The batcher takes `pending` tokens, decodes
them from `position` on, reports the new position with `advance_to`, and calls `sample` with the
logits of the last token once `remaining` is 0.

Invariant: every sampled token is counted, and the last delta has finish reason, usage and timings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from vanta import Delta, FinishReason, TokenLogprob
from vanta.normalising import ReasoningSplitter
from vanta_llamacpp.model import LlamaModel, Slot
from vanta_llamacpp.prompt import OutputParser, ParsedOutput
from vanta_llamacpp.sampling import PENALTY_WINDOW, AssembledText, Sampler, TextAssembler
from vanta_llamacpp.worker.job import Job


class Generation:
    """The answer to one job; made and closed by the worker.

    :param slot: the sequence that the answer is decoded in.
    :param cached: how many tokens of the prompt the slot holds already.
    """

    def __init__(self, model: LlamaModel, job: Job, slot: Slot, cached: int) -> None:
        request = job.request
        self.job = job
        self.slot = slot
        self.position = cached
        self.done = False
        self._model = model
        self._tokens = list(request.tokens)
        self._text = TextAssembler(request.sampling.stop)
        thoughts = ReasoningSplitter(
            request.reasoning_end,
            continues=request.prefix_tokens > 0,
            quoted=request.quoted_marks,
            calls=bool(request.tools),
        )
        self._parser = OutputParser(
            request.tools,
            thoughts,
            request.most_calls,
            continues=request.prefix_tokens > 0,
            quoted=request.quoted_calls,
        )
        self._in_calls = request.calls is not None and request.grammar == request.calls.whole
        self._held_logprobs: tuple[TokenLogprob, ...] = ()
        self._sampler = Sampler(
            model.lib, model.vocabulary, request.sampling, request.grammar, model.faults
        )
        self._sampler.accept_prompt(request.tokens[-PENALTY_WINDOW:])
        try:
            prefix = request.tokens[len(request.tokens) - request.prefix_tokens :]
            self._sampler.accept_prefix(prefix)
        except Exception:
            self._sampler.close()
            raise
        job.cached_tokens = job.prompt_tokens = cached

    def pending(self, limit: int) -> Sequence[int]:
        """Return the next tokens to decode, at most `limit`."""
        return self._tokens[self.position : self.position + limit]

    @property
    def remaining(self) -> int:
        """The tokens to decode before the next can be sampled; 1 once the prompt is prefilled."""
        return len(self._tokens) - self.position

    @property
    def prefilling(self) -> bool:
        """Whether more than one token of the prompt must still be decoded."""
        return self.remaining > 1

    def advance_to(self, position: int) -> None:
        """Record that the KV cache holds the first `position` tokens of prompt and answer."""
        self.position = position
        job = self.job
        job.prompt_tokens = max(job.prompt_tokens, min(position, len(job.request.tokens)))

    def sample(self, index: int) -> None:
        """Sample a token from the logits at `index` of the batch, and send what it adds."""
        model, job = self._model, self.job
        token = self._sampler.sample(model.context, index, closing=self._must_close)
        job.record_sample()
        if model.vocabulary.is_end(token):
            self._finish(AssembledText(), "stop")
            return
        logprob = self._sampler.logprob(model.context, index, token)
        job.record_output()
        data = model.vocabulary.piece(
            token, calls=bool(job.request.tools), thoughts=self._parser.may_think
        )
        text = self._text.add(data, logprob)
        if self._text.stopped is not None:
            self._finish(text, "stop")
        elif job.output_tokens >= job.request.max_tokens:
            self._finish(text, "length")
        else:
            self._tokens.append(token)
            output = self._parser.add(text.text)
            logprobs = self._logprobs_of(output, text)
            if output or logprobs:
                job.mailbox.put(_delta(output, logprobs))
            self._constrain_calls()

    @property
    def _must_close(self) -> bool:
        """Whether there is just room to finish the calls, or the JSON of the answer."""
        request = self.job.request
        reserve = request.closing_tokens
        if request.calls is not None and self._in_calls:
            reserve = request.calls.reserve_tokens
        return reserve > 0 and request.max_tokens - self.job.output_tokens <= reserve

    def _constrain_calls(self) -> None:
        """Apply the grammar of calls once the model has begun one of its own accord."""
        calls = self.job.request.calls
        if calls is None or self._in_calls or not calls.mark:
            return
        if self._parser.opened == calls.mark:
            self._sampler.constrain(calls.after_mark)
            self._in_calls = True

    def _finish(self, text: AssembledText, reason: FinishReason) -> None:
        rest = self._text.finish()
        text = AssembledText(text.text + rest.text, text.logprobs + rest.logprobs)
        output = self._parser.add(text.text) + self._parser.finish()
        self.done = self.job.finished = True
        self.job.mailbox.put(
            dataclasses.replace(
                _delta(output, self._logprobs_of(output, text)),
                finish_reason="tool_calls" if self._parser.calls else reason,
                usage=self.job.usage(),
                timings=self.job.timings(),
                model=self.job.model,
            )
        )

    def _logprobs_of(self, output: ParsedOutput, text: AssembledText) -> tuple[TokenLogprob, ...]:
        """Return the logprobs to send with an output: those of reasoning are dropped."""
        self._held_logprobs += text.logprobs
        is_answer = bool(output.text) or not self._parser.may_think
        if not (is_answer or output.reasoning) and self._parser.thoughts.may_hold_text:
            return ()  # it is not known yet whether these tokens are reasoning
        logprobs, self._held_logprobs = self._held_logprobs, ()
        return logprobs if is_answer else ()

    def close(self) -> None:
        """Free the sampler; called once."""
        self._sampler.close()


def _delta(output: ParsedOutput, logprobs: tuple[TokenLogprob, ...]) -> Delta:
    return Delta(
        text=output.text,
        reasoning=output.reasoning,
        tool_calls=output.calls,
        logprobs=logprobs,
    )
