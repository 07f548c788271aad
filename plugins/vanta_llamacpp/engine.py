"""The asynchronous front of the engine: it prepares requests and hands them to the worker.

Invariant: a stream's context is left only after the worker has stopped working on it. Nothing here
blocks the event loop: rendering and tokenizing run in threads, generation in the worker's own.
"""

from __future__ import annotations

import dataclasses
import time
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread

from vanta import (
    BaseEngine,
    Capabilities,
    Delta,
    DeltaStream,
    EngineContext,
    EngineError,
    EngineModel,
    ErrorKind,
    GenerationRequest,
    Health,
    Message,
    TokenCount,
    Tool,
    ToolCounts,
)
from vanta_llamacpp.errors import ENGINE, Faults
from vanta_llamacpp.model import (
    LlamaModel,
    Loader,
    PromptOwner,
    locate,
    model_memory,
    remove_all,
)
from vanta_llamacpp.options import LlamaCppOptions
from vanta_llamacpp.prompt import Prompter
from vanta_llamacpp.worker import (
    BATCH_TOKENS,
    EmbedTask,
    ForgetTask,
    Inbox,
    Job,
    JobEnd,
    LoadTask,
    Mailbox,
    Worker,
    split_batches,
)


class LlamaCppEngine(BaseEngine):
    """llama.cpp in this process: one model and one worker thread, started by the first request.

    :param options: how to run the model.
    :param context: the track's model and window, and where to find its file.
    """

    name = ENGINE
    capabilities = Capabilities(
        tools=True,
        embeddings=True,
        grammar=True,
        json_schema=True,
        logprobs=True,
        prefix_continuation=True,
        tokenize=True,
        load=True,
    )

    def __init__(self, options: LlamaCppOptions, context: EngineContext) -> None:
        self.model = context.model
        self._options = options
        self._context = context
        self._faults = Faults(context.model)
        self._inbox = Inbox(options.queue, self._faults)
        self._loader = Loader(options, context, self._faults)
        self._worker = Worker(self._loader.load, self._inbox, self._faults, pinned=options.pinned)
        self._prompter: tuple[LlamaModel, Prompter] | None = None
        # An engine that is never closed must not keep its thread at exit or once it is collected.
        weakref.finalize(self, self._worker.close)

    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        """Generate. See `Engine.stream`; an overflow is raised on entering, before any decode."""
        requested_at = time.perf_counter()
        with self._in_use():
            prompter = await self._ready_prompter()
            tokenized = await anyio.to_thread.run_sync(prompter.prompt, request)
            owner = PromptOwner(request.session, request.scope, tokenized.common_tokens)
            job = Job(tokenized, model=self.model, requested_at=requested_at, owner=owner)
            self._inbox.put(job)
            stream = LlamaCppStream(job)
            try:
                yield stream
            finally:
                self._worker.stop(job)
                with anyio.CancelScope(shield=True):  # at most one decode step
                    await stream.wait_ended()

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Count with the model's own template and tokenizer; loads the model if necessary."""
        with self._in_use():
            prompter = await self._ready_prompter()
            tokens = await anyio.to_thread.run_sync(prompter.tokens, messages)
        return TokenCount(len(tokens), exact=True)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Count with the model's own tokenizer, in one thread; loads the model if necessary."""
        with self._in_use():
            prompter = await self._ready_prompter()
            counts = await anyio.to_thread.run_sync(prompter.count_texts, texts)
        return [TokenCount(count, exact=True) for count in counts]

    async def count_tools(self, tools: Sequence[Tool]) -> ToolCounts:
        """Count tools as the model's own template writes them; loads the model if necessary."""
        with self._in_use():
            prompter = await self._ready_prompter()
            return await anyio.to_thread.run_sync(prompter.count_tools, tools)

    @property
    def writes_calls(self) -> bool:  # type: ignore[override]
        """Return whether the loaded model's chat template has no place for tools."""
        return self._prompter is not None and self._prompter[1].writes_calls

    @property
    def counter(self) -> str:
        """Return the name of the model's own tokenizer."""
        return f"llama.cpp: {self.model}"

    async def load(self) -> None:
        """Load the model, once; concurrent callers wait for the same load."""
        with self._in_use():
            if not (await self._ready_model()).facts.encoder:
                await self._ready_prompter()

    @property
    def loaded_model(self) -> LlamaModel | None:
        """Return the model while it is loaded; see there what other threads may use."""
        return self._worker.model

    def _in_use(self) -> AbstractContextManager[None]:
        """Return a context in which the model is not unloaded for another engine's."""
        return model_memory().using(self._worker.tenant)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Compute vectors. See `Engine.embed`; for models whose file declares a pooling."""
        vectors: list[list[float]] = []
        with self._in_use():
            model = await self._ready_model()
            tokens = await anyio.to_thread.run_sync(self._tokenize_texts, model, texts)
            for batch in split_batches(tokens):
                mailbox: Mailbox[EngineError | list[list[float]]] = Mailbox()
                task = EmbedTask(batch, mailbox)
                self._inbox.submit(task)
                try:
                    result = await mailbox.get()
                finally:
                    self._worker.cancel(task)
                if isinstance(result, EngineError):
                    raise result
                vectors += result
        return vectors

    async def forget(self) -> None:
        """Empty the KV cache and remove all saved prefixes. See `Engine.forget`."""
        failure: EngineError | None = None
        if self._worker.model is not None and not self.closed:
            mailbox: Mailbox[EngineError | None] = Mailbox()
            self._inbox.submit(ForgetTask(mailbox))
            failure = await mailbox.get()
        folder = self._options.cache_dir
        if folder is not None:
            try:
                await anyio.to_thread.run_sync(remove_all, folder)
            except OSError as error:
                raise self._faults.error(
                    ErrorKind.SERVER,
                    f"saved prefixes in {str(folder)!r} could not be removed: {error.strerror}",
                    "Remove that folder yourself: it holds conversations, as tokens.",
                ) from error
        if failure is not None and not self.closed:  # closing empties the cache, too
            raise failure

    def _tokenize_texts(self, model: LlamaModel, texts: Sequence[str]) -> list[list[int]]:
        limit = min(BATCH_TOKENS, model.window)
        documents = [model.vocabulary.tokenize_whole(text) for text in texts]
        for number, tokens in enumerate(documents):
            if not 0 < len(tokens) <= limit:
                raise self._faults.error(
                    ErrorKind.CONTEXT_OVERFLOW if tokens else ErrorKind.BAD_REQUEST,
                    f"text {number} has {len(tokens)} tokens; it must have between 1 and {limit}",
                    "Split it into shorter texts." if tokens else "Remove it.",
                )
        return documents

    async def _ready_prompter(self) -> Prompter:
        model = await self._ready_model()
        cached = self._prompter
        if cached is None or cached[0] is not model:
            cached = self._prompter = (model, await anyio.to_thread.run_sync(Prompter, model))
        return cached[1]

    async def _ready_model(self) -> LlamaModel:
        self._worker.start()
        if self._worker.model is None and not self.closed:
            mailbox: Mailbox[EngineError | None] = Mailbox()
            self._inbox.submit(LoadTask(mailbox))
            error = await mailbox.get()
            if error is not None:
                raise error
        model = self._worker.model
        if model is None or self.closed:
            raise self.closed_error()
        return model

    async def models(self) -> Sequence[EngineModel]:
        """Return this engine's one model, or nothing while its file cannot be used."""
        try:
            _, facts = await anyio.to_thread.run_sync(locate, self._context, self._faults)
        except EngineError:
            return ()
        return (EngineModel(self.model, self.window or facts.window, facts.to_dict()),)

    async def check(self) -> Health:
        """Return whether the model is loaded, or can be as far as its file's header shows."""
        model = self._worker.model
        if model is not None:
            return Health(
                True,
                f"{self.model!r} is loaded, {len(self._inbox)} requests are waiting, "
                f"{model.gpu_layers} of {model.facts.layers} layers are on a GPU",
            )
        file, facts = await anyio.to_thread.run_sync(self._loader.inspect)
        if self._worker.failure is not None:
            return Health(False, f"the last attempt to load it failed: {self._worker.failure}")
        return Health(True, f"{facts.name} ({facts.quantisation}) can be loaded from {file.path}")

    def stats(self) -> Mapping[str, Any]:
        """Return loads, tokens, speed, queue, threads, and how many layers are on a GPU."""
        counters, model, tuner = self._worker.stats, self._worker.model, self._worker.tuner
        stats: dict[str, Any] = dataclasses.asdict(counters)
        busy_s = counters.busy_s
        stats["tokens_per_s"] = counters.output_tokens / busy_s if busy_s else None
        stats["queue"] = len(self._inbox)
        stats["active"] = self._worker.active
        stats["loaded"] = model is not None
        stats["pinned"] = self._options.pinned
        if tuner is not None:
            stats["pace"] = tuner.to_dict()
            stats["threads"] = tuner.threads
        if model is not None:
            stats |= {
                "file": str(model.file.path),
                "model": model.facts.to_dict(),
                "window": model.window,
                "parallel": len(model.slots.all),
                "evictions": model.slots.evictions,
                "gpu_layers": model.gpu_layers,
                "layers": model.facts.layers,
                "memory_bytes": self._worker.tenant.bytes,
            }
            if model.slots.disk is not None:
                stats["saved_prefixes"] = model.slots.disk.to_dict()
        return stats

    @property
    def window(self) -> int | None:
        """Return the model's window in tokens; before it is loaded, the configured one."""
        model = self._worker.model
        return model.window if model is not None else self._context.window

    @property
    def closed(self) -> bool:
        """Return whether the engine accepts no more requests."""
        return self._inbox.closed

    def closed_error(self) -> EngineError:
        """Return the error of a request to a closed engine."""
        return self._faults.closed()

    async def aclose(self) -> None:
        """End running streams with an error, release the model, join the thread."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._worker.close)


class LlamaCppStream(DeltaStream):
    """The deltas of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def started(self) -> bool:
        """Return whether the worker has started on it."""
        return self._job.started

    async def __anext__(self) -> Delta:
        """Return the next delta. See `DeltaStream`."""
        if self.receipt is not None:
            raise StopAsyncIteration
        item = await self._job.mailbox.get()
        if isinstance(item, Delta):
            return item
        if isinstance(item, JobEnd):
            self.receipt = item.receipt
            raise StopAsyncIteration
        raise item

    async def wait_ended(self) -> None:
        """Wait for the job's end and store its receipt."""
        while self.receipt is None:
            item = await self._job.mailbox.get()
            if isinstance(item, JobEnd):
                self.receipt = item.receipt
