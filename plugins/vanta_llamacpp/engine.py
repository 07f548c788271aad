"""The asynchronous face of the engine: the worker does the work, this hands it over.

Invariant: a stream's context is left only after the worker stands still for it, and nothing here
blocks the event loop: rendering and tokenizing run in threads, generating in the worker's own.
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

from vanta.engine import (
    Capabilities,
    DeltaStream,
    Engine,
    EngineContext,
    EngineModel,
    GenerationRequest,
    Health,
    TokenCount,
)
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Delta, Message
from vanta_llamacpp.embedding.vectors import LONGEST, portions
from vanta_llamacpp.errors import ENGINE, Faults
from vanta_llamacpp.model.kv_disk import remove_all
from vanta_llamacpp.model.loading import Loader, locate
from vanta_llamacpp.model.model import LlamaModel
from vanta_llamacpp.model.model_memory import model_memory
from vanta_llamacpp.options import LlamaCppOptions
from vanta_llamacpp.prompt.prompt import Prompter
from vanta_llamacpp.worker.inbox import Embed, Forget, Inbox, Load, closed
from vanta_llamacpp.worker.job import Ended, Job
from vanta_llamacpp.worker.mailbox import Mailbox
from vanta_llamacpp.worker.worker import Worker

HEALTH_AGE_S = 30.0


class LlamaCppEngine(Engine):
    """llama.cpp in this process. One model, one worker thread, started with the first request."""

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
        self._health: tuple[float, Health] | None = None
        # An engine that nobody closed must not keep its thread, at exit or when it is collected.
        weakref.finalize(self, self._worker.close)

    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        """Generate. See `Engine.stream`; an overflow is raised on entering, before any decode."""
        asked_at = time.perf_counter()
        with self._using():
            prompter = await self._ready()
            prompt = await anyio.to_thread.run_sync(prompter.prompt, request)
            job = Job(prompt, model=self.model, asked_at=asked_at, session=request.session)
            self._inbox.put(job)
            stream = LlamaCppStream(job)
            try:
                yield stream
            finally:
                self._worker.stop(job)
                with anyio.CancelScope(shield=True):  # one decode step at the most
                    await stream.stand_still()

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Exact: the model's own template and tokenizer; loads the model if need be."""
        with self._using():
            prompter = await self._ready()
            tokens = await anyio.to_thread.run_sync(prompter.tokens, messages)
        return TokenCount(len(tokens), exact=True)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Exact, all in one visit to a thread; loads the model if need be."""
        with self._using():
            prompter = await self._ready()
            counts = await anyio.to_thread.run_sync(prompter.count_texts, texts)
        return [TokenCount(count, exact=True) for count in counts]

    @property
    def counter(self) -> str:
        """The model's own tokenizer."""
        return f"llama.cpp: {self.model}"

    async def load(self) -> None:
        """Load the model, once; whoever comes meanwhile waits for the same load."""
        with self._using():
            if not (await self._loaded()).facts.encoder:
                await self._ready()

    def _using(self) -> AbstractContextManager[None]:
        """Meanwhile the model stays, once it is loaded; else others may take its room."""
        return model_memory().using(self._worker.tenant)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See `Engine.embed`; for models whose file names a pooling."""
        vectors: list[list[float]] = []
        with self._using():
            model = await self._loaded()
            tokens = await anyio.to_thread.run_sync(self._documents, model, texts)
            for portion in portions(tokens):
                mailbox: Mailbox[EngineError | list[list[float]]] = Mailbox()
                task = Embed(portion, mailbox)
                self._inbox.ask(task)
                try:
                    found = await mailbox.get()
                finally:
                    self._worker.leave(task)
                if isinstance(found, EngineError):
                    raise found
                vectors += found
        return vectors

    async def forget(self) -> None:
        """Empty the KV cache and remove all saved prefixes. See `Engine.forget`."""
        if self._worker.model is not None and not self._inbox.closed:
            mailbox: Mailbox[EngineError | None] = Mailbox()
            self._inbox.ask(Forget(mailbox))
            await mailbox.get()
        folder = self._options.cache_dir
        if folder is None:
            return
        try:
            await anyio.to_thread.run_sync(remove_all, folder)
        except OSError as error:
            raise self._faults.error(
                ErrorKind.SERVER,
                f"saved prefixes in {str(folder)!r} could not be removed: {error.strerror}",
                "Remove that folder yourself: it holds what was said, as tokens.",
            ) from error

    def _documents(self, model: LlamaModel, texts: Sequence[str]) -> list[list[int]]:
        most = min(LONGEST, model.window)
        documents = [model.vocabulary.tokenize_whole(text) for text in texts]
        for number, tokens in enumerate(documents):
            if not 0 < len(tokens) <= most:
                raise self._faults.error(
                    ErrorKind.CONTEXT_OVERFLOW if tokens else ErrorKind.BAD_REQUEST,
                    f"text {number} has {len(tokens)} tokens; 1 to {most} can be embedded",
                    "Part it into shorter texts." if tokens else "Leave it out.",
                )
        return documents

    async def _ready(self) -> Prompter:
        model = await self._loaded()
        known = self._prompter
        if known is None or known[0] is not model:
            known = self._prompter = (model, await anyio.to_thread.run_sync(Prompter, model))
        return known[1]

    async def _loaded(self) -> LlamaModel:
        self._worker.start()
        if self._worker.model is None and not self._inbox.closed:
            mailbox: Mailbox[EngineError | None] = Mailbox()
            self._inbox.ask(Load(mailbox))
            error = await mailbox.get()
            if error is not None:
                raise error
        model = self._worker.model
        if model is None or self._inbox.closed:
            raise closed(self._faults)
        return model

    async def models(self) -> Sequence[EngineModel]:
        """The one model of this engine; none while its file cannot be used."""
        try:
            _, facts = await anyio.to_thread.run_sync(locate, self._context, self._faults)
        except EngineError:
            return ()
        return (EngineModel(self.model, self.window or facts.window, facts.to_dict()),)

    async def health(self, *, force: bool = False) -> Health:
        """Loaded, or loadable as far as the file's header shows."""
        now = time.monotonic()
        if self._health and not force and now - self._health[0] < HEALTH_AGE_S:
            checked_at, health = self._health
            return dataclasses.replace(health, age_s=now - checked_at)
        health = await self._check()
        self._health = (now, health)
        return health

    async def _check(self) -> Health:
        if self._inbox.closed:
            return Health(False, str(closed(self._faults)))
        model = self._worker.model
        if model is not None:
            waiting = f"{self.model!r} is loaded, {len(self._inbox)} requests wait"
            return Health(True, f"{waiting}, {_offloaded(model)}")
        try:
            file, facts = await anyio.to_thread.run_sync(self._loader.inspect)
        except EngineError as error:
            return Health(False, str(error))
        if self._worker.failure is not None:
            return Health(False, f"the last try to load failed: {self._worker.failure}")
        return Health(True, f"{facts.name} ({facts.quantisation}) can be loaded from {file.path}")

    def stats(self) -> Mapping[str, Any]:
        """Loads, tokens, speed, queue, threads, and how many layers are really on a GPU."""
        tally, model = self._worker.tally, self._worker.model
        figures: dict[str, Any] = dataclasses.asdict(tally)
        figures["tokens_per_s"] = tally.output_tokens / tally.busy_s if tally.busy_s else None
        figures["queue"] = len(self._inbox)
        figures["active"] = self._worker.active
        figures["loaded"] = model is not None
        figures["pinned"] = self._options.pinned
        if self._worker.pace is not None:
            figures["pace"] = self._worker.pace.to_dict()
            figures["threads"] = self._worker.pace.threads
        if model is not None:
            figures |= {
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
                figures["saved_prefixes"] = model.slots.disk.to_dict()
        return figures

    @property
    def window(self) -> int | None:
        """The model's once it is loaded, before that what the configuration asks for."""
        model = self._worker.model
        return model.window if model is not None else self._context.window

    async def aclose(self) -> None:
        """End running streams with an error, release the model, join the thread."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._worker.close)


def _offloaded(model: LlamaModel) -> str:
    """How many layers are really on a GPU, as the library reported them when it loaded."""
    return f"{model.gpu_layers} of {model.facts.layers} layers are on a GPU"


class LlamaCppStream(DeltaStream):
    """The deltas of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def started(self) -> bool:
        """True once the worker works on it."""
        return self._job.started

    async def __anext__(self) -> Delta:
        """The next delta; see `DeltaStream`."""
        if self.receipt is not None:
            raise StopAsyncIteration
        item = await self._job.mailbox.get()
        if isinstance(item, Delta):
            return item
        if isinstance(item, Ended):
            self.receipt = item.receipt
            raise StopAsyncIteration
        raise item

    async def stand_still(self) -> None:
        """Wait for the job's end and take its receipt."""
        while self.receipt is None:
            item = await self._job.mailbox.get()
            if isinstance(item, Ended):
                self.receipt = item.receipt
