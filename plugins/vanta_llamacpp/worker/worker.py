"""The one thread that owns the model and its contexts.

Invariant: only this thread loads, decodes, samples and frees. `close` may be called from any thread
and any number of times; when it returns, the thread has ended and all memory is released.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from vanta import EngineError
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model import (
    AbortFlag,
    LlamaModel,
    LoadedModel,
    cores,
    model_memory,
    others_running,
    release_helpers,
)
from vanta_llamacpp.worker.batcher import Batcher
from vanta_llamacpp.worker.embedding import EmbeddingContext
from vanta_llamacpp.worker.inbox import EmbedTask, ForgetTask, Inbox, LoadTask, Task, UnloadTask
from vanta_llamacpp.worker.job import Job, WorkerStats
from vanta_llamacpp.worker.thread_tuning import ThreadTuner

LOAD_CHECK_S = 5.0
"""Seconds between two checks of how many cores other processes need."""


class Worker:
    """Runs one engine's model.

    :param load: loads the model; its last argument returns whether to continue.
    :param inbox: the jobs and tasks.
    :param faults: makes the errors.
    :param pinned: the model is never unloaded for another engine's model.
    """

    def __init__(
        self,
        load: Callable[[LoadedModel, AbortFlag, Callable[[], bool]], LlamaModel],
        inbox: Inbox,
        faults: Faults,
        *,
        pinned: bool = False,
    ) -> None:
        self._load = load
        self._inbox = inbox
        self._faults = faults
        self._abort = AbortFlag()
        self._process = os.getpid()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._batcher: Batcher | None = None
        self._embedder: EmbeddingContext | None = None
        self._embedding: EmbedTask | None = None
        self._checked_at = -LOAD_CHECK_S
        self._unsaved = False
        self.model: LlamaModel | None = None
        self.tuner: ThreadTuner | None = None
        self.failure: EngineError | None = None
        self.stats = WorkerStats()
        self.tenant = LoadedModel(faults.model, _unloader(inbox), pinned)

    def start(self) -> None:
        """Start the thread, once. Raises EngineError in a process forked after construction."""
        if os.getpid() != self._process:
            raise self._faults.not_loaded(
                "the engine belongs to the process that this one was forked from",
                "Open a runtime in each process.",
            )
        with self._lock:
            if self._thread is None and not self._inbox.closed:
                thread = threading.Thread(
                    target=self._run, name=f"vanta-llamacpp-{self._faults.model}", daemon=True
                )
                thread.start()  # the system may refuse it
                self._thread = thread

    def stop(self, job: Job) -> None:
        """Stop a job: at once if it is waiting, else within one step. A prefill is aborted."""
        active, batcher = self._inbox.stop(job), self._batcher
        if active and batcher is not None and batcher.prefilling is job:
            self._abort.set()

    def cancel(self, task: EmbedTask) -> None:
        """Cancel the task. No-op if it has completed."""
        task.cancelled = True
        if self._embedding is task:
            self._abort.set()

    def close(self) -> None:
        """End everything and join the thread; blocks for at most one step."""
        with self._lock:
            self._inbox.close()
            thread = self._thread
        if os.getpid() != self._process or thread is threading.current_thread():
            return
        self._abort.set()
        if thread is not None:
            thread.join()

    @property
    def active(self) -> int:
        """Return the number of jobs that are served."""
        return len(self._batcher) if self._batcher is not None else 0

    def _run(self) -> None:
        try:
            while not self._inbox.closed:
                self._run_once()
        finally:
            self._inbox.close()
            if self._batcher is not None:
                self._batcher.fail(self._faults.closed)
            model = self.model
            self._detach()
            self._free(model)

    def _detach(self) -> None:
        self.model = None

    def _free(self, model: LlamaModel | None) -> None:
        """Free the detached model, which nothing uses any more."""
        self._batcher = None
        if self._embedder is not None:
            self._embedder.close()
            self._embedder = None
        if model is not None:
            try:
                model.slots.save_all()
            finally:
                model.close()
                model_memory().release(self.tenant)

    def _run_once(self) -> None:
        """Handle the next task or job, or run a round; wait if there is nothing to do."""
        batcher = self._batcher
        busy = batcher is not None and len(batcher) > 0
        accept_job = batcher is None or batcher.free_slots > 0
        idle = not (busy or self._unsaved)
        if idle and self.model is not None:
            release_helpers(self.model.lib)  # idle helper threads slow down other engines
        item = self._inbox.take(accept_job=accept_job, wait=idle)
        if isinstance(item, Job):
            self._unsaved = True
            self._admit(item)
        elif item is not None:
            self._handle(item, idle=idle)
            if isinstance(item, EmbedTask) and batcher is not None and busy:
                self._run_round(batcher)  # generations take turns with embedding batches
        elif batcher is not None and busy:
            self._run_round(batcher)
        else:
            self._unsaved = self.model is not None and self.model.slots.save_one()

    def _handle(self, task: Task, *, idle: bool) -> None:
        if isinstance(task, LoadTask):
            task.mailbox.put(self._ensure_loaded())
        elif isinstance(task, EmbedTask):
            task.mailbox.put(self._embed(task, idle=idle))
        elif isinstance(task, ForgetTask):
            task.mailbox.put(self._forget())
        else:
            self._answer_unload(task)

    def _answer_unload(self, task: UnloadTask) -> None:
        try:
            task.done.set_result(self._unload())
        except Exception as error:  # noqa: BLE001 - the waiting engine must receive any error
            task.done.set_exception(self._faults.wrap(error))

    def _unload(self) -> bool:
        """Free the model for another engine's, unless it is in use. Returns whether it was."""
        model = self.model
        if model is None or not model_memory().detach_if_idle(self.tenant, self._detach):
            return False
        self._free(model)
        self.stats.unloads += 1
        return True

    def _forget(self) -> EngineError | None:
        try:
            if self.model is not None:
                self.model.slots.forget()
        except Exception as error:  # noqa: BLE001 - the caller must receive any error
            return self._faults.wrap(error)
        return None

    def _embed(self, task: EmbedTask, *, idle: bool) -> EngineError | list[list[float]]:
        self._embedding = task
        # Cleared before the check, so that no cancellation falls between the two.
        self._abort.clear()
        try:
            if task.cancelled or self._inbox.closed or self.model is None:
                return self._faults.closed()
            if self._embedder is None:
                self._embedder = EmbeddingContext(self.model)
            if idle:
                self._tune_embedding(self.model, self._embedder)
            vectors = self._embedder.embed(task.texts)
        except Exception as error:  # noqa: BLE001 - the caller must receive any error
            return self._faults.closed() if self._inbox.closed else self._faults.wrap(error)
        finally:
            self._embedding = None
        self.stats.embedded_texts += len(vectors)
        return vectors

    def _tune_embedding(self, model: LlamaModel, embedder: EmbeddingContext) -> None:
        """Every LOAD_CHECK_S, leave the cores to other processes that they need."""
        if model.adapts and time.monotonic() - self._checked_at >= LOAD_CHECK_S:
            self._checked_at = time.monotonic()
            embedder.use_threads(max(1, cores() - others_running()))

    def _admit(self, job: Job) -> None:
        if self._batcher is None:
            self._end_job(job, self._faults.closed())
        else:
            self._batcher.admit(job)

    def _run_round(self, batcher: Batcher) -> None:
        start = time.perf_counter()
        try:
            batcher.run_round()
        except Exception as error:  # noqa: BLE001 - every reader must receive any error
            cause = error
            batcher.fail(lambda: self._faults.wrap(cause))
        self.stats.busy_s += time.perf_counter() - start

    def _ensure_loaded(self) -> EngineError | None:
        """Load the model if it is not loaded. Returns the error, if any."""
        if self.model is not None:
            return None
        start = time.perf_counter()
        try:
            self.model = self._load(self.tenant, self._abort, lambda: not self._inbox.closed)
        except Exception as error:  # noqa: BLE001 - the caller must receive any error
            reason = self._faults.wrap(error)
            self.failure = self._faults.closed() if self._inbox.closed else reason
            return self.failure
        self.failure = None
        maximum, adapts = self.model.threads, self.model.adapts
        initial = max(1, maximum - others_running()) if adapts else maximum
        self.tuner = ThreadTuner(maximum, adapt=adapts, proven=False, initial=initial)
        self.model.use_threads(initial)
        self._batcher = Batcher(self.model, self.tuner, self.stats, self._end_job)
        self.stats.loads += 1
        self.stats.load_s = time.perf_counter() - start
        return None

    def _end_job(self, job: Job, error: EngineError | None) -> None:
        """Count a job that nothing works on any more, then notify its reader."""
        self.stats.record(job, failed=error is not None)
        self._inbox.complete(job)
        job.end(error)


def _unloader(inbox: Inbox) -> Callable[[], bool]:
    """Return a function that unloads the model; for other threads, without the engine."""

    def unload() -> bool:
        done: Future[bool] = Future()
        try:
            inbox.submit(UnloadTask(done))
        except EngineError:  # closed: the model is freed anyway
            return False
        return done.result()

    return unload
