"""The one thread that owns the model and its context.

Invariant: nothing but this thread loads, decodes, samples or frees. `close` may be called from any
thread and any number of times; when it returns, the thread is gone and all memory is released.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from vanta.errors import EngineError
from vanta_llamacpp.embedding.vectors import Embedder
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model.model import LlamaModel
from vanta_llamacpp.model.model_memory import LoadedModel, model_memory
from vanta_llamacpp.model.native import AbortFlag, cores, others_running, release_helpers
from vanta_llamacpp.worker.batcher import Batcher
from vanta_llamacpp.worker.inbox import Embed, Forget, Inbox, Load, Unload, closed
from vanta_llamacpp.worker.job import Job
from vanta_llamacpp.worker.statistics import Tally
from vanta_llamacpp.worker.thread_tuning import Pace

LOOK_AGAIN_S = 5.0
"""Seconds between two looks at who else needs the cores."""


class Worker:
    """`load` makes the model when it is wanted; its last argument says whether to go on. pinned: no
    other engine's model takes its room."""

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
        self._starting = threading.Lock()
        self._batcher: Batcher | None = None
        self._embedder: Embedder | None = None
        self._embedding: Embed | None = None
        self._looked_at = -LOOK_AGAIN_S
        self._unsaved = False
        self.model: LlamaModel | None = None
        self.pace: Pace | None = None
        self.failure: EngineError | None = None
        self.tally = Tally()
        self.tenant = LoadedModel(faults.model, _leaver(inbox), pinned)

    def start(self) -> None:
        """Start the thread, once. Raises EngineError in a process that forked since."""
        if os.getpid() != self._process:
            raise self._faults.not_loaded(
                "the engine belongs to the process that this one was forked from",
                "Open a runtime of its own in each process.",
            )
        with self._starting:
            if self._thread is None and not self._inbox.closed:
                self._thread = threading.Thread(
                    target=self._run, name=f"vanta-llamacpp-{self._faults.model}", daemon=True
                )
                self._thread.start()

    def stop(self, job: Job) -> None:
        """Stop a job: at once if it waits, within one step if it is being worked on; a step that
        reads its prompt is cut short."""
        active, batcher = self._inbox.stop(job), self._batcher
        if active and batcher is not None and batcher.reading is job:
            self._abort.set()

    def leave(self, task: Embed) -> None:
        """Nobody waits for these vectors any more; harmless once they are there."""
        task.left = True
        if self._embedding is task:
            self._abort.set()

    def close(self) -> None:
        """End everything and join the thread; blocking for one step at the most."""
        with self._starting:
            self._inbox.close(lambda: closed(self._faults))
            thread = self._thread
        if os.getpid() != self._process or thread is threading.current_thread():
            return
        self._abort.set()
        if thread is not None:
            thread.join()

    @property
    def active(self) -> int:
        """How many requests are being served."""
        return len(self._batcher) if self._batcher is not None else 0

    def _run(self) -> None:
        try:
            while not self._inbox.closed:
                self._turn()
        finally:
            self._inbox.close(lambda: closed(self._faults))
            if self._batcher is not None:
                self._batcher.fail(lambda: closed(self._faults))
            self._release()

    def _release(self) -> None:
        """Free the model, which nothing works on and nobody uses any more."""
        model = self.model
        self._detach()
        self._free(model)

    def _detach(self) -> None:
        self.model = None

    def _free(self, model: LlamaModel | None) -> None:
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

    def _turn(self) -> None:
        """Take in what has come, then go one round on."""
        batcher = self._batcher
        busy = batcher is not None and len(batcher) > 0
        room = batcher is None or batcher.room > 0
        idle = not (busy or self._unsaved)
        if idle:
            self._rest()
        task = self._inbox.take(room=room, wait=idle)
        if isinstance(task, Load):
            task.mailbox.put(self._loaded())
        elif isinstance(task, Embed):
            task.mailbox.put(self._embedded(task, rested=idle))
            if batcher is not None and busy:
                self._round(batcher)  # those who write have their turn between two batches
        elif isinstance(task, Forget):
            task.mailbox.put(self._forgotten())
        elif isinstance(task, Unload):
            self._unload(task)
        elif task is not None:
            self._unsaved = True
            self._admit(task)
        elif batcher is not None and busy:
            self._round(batcher)
        else:
            self._unsaved = self.model is not None and self.model.slots.save_one()

    def _rest(self) -> None:
        """Nothing is to be done: keep no thread from those who have something to do."""
        if self.model is not None:
            release_helpers(self.model.lib)

    def _unload(self, task: Unload) -> None:
        try:
            task.done.set_result(self._left())
        except Exception as error:  # noqa: BLE001 - whatever it was, whoever waits is told
            task.done.set_exception(self._faults.told(error))

    def _left(self) -> bool:
        """Make room for another engine's model, unless somebody uses this one."""
        model = self.model
        if model is None or not model_memory().detach_if_idle(self.tenant, self._detach):
            return False
        self._free(model)
        self.tally.unloads += 1
        return True

    def _forgotten(self) -> EngineError | None:
        try:
            if self.model is not None:
                self.model.slots.forget()
        except Exception as error:  # noqa: BLE001 - whatever it was, whoever waits is told
            return self._faults.told(error)
        return None

    def _embedded(self, task: Embed, *, rested: bool) -> EngineError | list[list[float]]:
        self._embedding = task
        # Cleared before the question, so that no stop falls between the two.
        self._abort.clear()
        try:
            if task.left or self._inbox.closed or self.model is None:
                return closed(self._faults)
            if self._embedder is None:
                self._embedder = Embedder(self.model)
            if rested:
                self._look_again(self.model, self._embedder)
            return self._embedder.embed(task.texts)
        except Exception as error:  # noqa: BLE001 - whatever it was, whoever waits is told
            return closed(self._faults) if self._inbox.closed else self._faults.told(error)
        finally:
            self._embedding = None

    def _look_again(self, model: LlamaModel, embedder: Embedder) -> None:
        """From time to time, leave out of embedding the threads that others need."""
        if model.adapts and time.monotonic() - self._looked_at >= LOOK_AGAIN_S:
            self._looked_at = time.monotonic()
            embedder.use_threads(max(1, cores() - others_running()))

    def _admit(self, job: Job) -> None:
        if self._batcher is None:
            self._ended(job, closed(self._faults))
        else:
            self._batcher.admit(job)

    def _round(self, batcher: Batcher) -> None:
        start = time.perf_counter()
        try:
            batcher.round()
        except Exception as error:  # noqa: BLE001 - whatever it was, the readers are told
            cause = error
            batcher.fail(lambda: self._faults.told(cause))
        self.tally.busy_s += time.perf_counter() - start

    def _loaded(self) -> EngineError | None:
        """Load the model if it is not there. Returns why it could not be."""
        if self.model is not None:
            return None
        start = time.perf_counter()
        try:
            self.model = self._load(self.tenant, self._abort, lambda: not self._inbox.closed)
        except Exception as error:  # noqa: BLE001 - whatever it was, whoever waits is told
            told = self._faults.told(error)
            self.failure = closed(self._faults) if self._inbox.closed else told
            return self.failure
        self.failure = None
        most, adapts = self.model.threads, self.model.adapts
        begin = max(1, most - others_running()) if adapts else most
        self.pace = Pace(most, adapt=adapts, proven=False, begin=begin)
        self.model.use_threads(begin)
        self._batcher = Batcher(self.model, self.pace, self.tally, self._ended)
        self.tally.loads += 1
        self.tally.load_s = time.perf_counter() - start
        return None

    def _ended(self, job: Job, error: EngineError | None) -> None:
        """Nothing works on `job` any more; it is told when all is counted."""
        self._count(job, error)
        self._inbox.done(job)
        job.end(error)

    def _count(self, job: Job, failure: EngineError | None) -> None:
        tally = self.tally
        tally.requests += 1
        tally.stopped += job.stop_asked and not job.finished
        tally.failed += failure is not None
        tally.input_tokens += job.read_tokens
        tally.cached_input_tokens += job.cached_tokens
        tally.output_tokens += job.output_tokens


def _leaver(inbox: Inbox) -> Callable[[], bool]:
    """How to ask for an engine's room from another's thread; without a hold on the engine."""

    def leave() -> bool:
        done: Future[bool] = Future()
        try:
            inbox.ask(Unload(done))
        except EngineError:  # closed: it leaves by itself
            return False
        return done.result()

    return leave
