"""The worker: the one thread that owns a model, its queue, and continuous batching.

Invariant: only the worker's thread loads, decodes, samples and frees. The event loop hands it jobs
and tasks through the inbox and reads the results from mailboxes.
"""

from __future__ import annotations

from vanta_llamacpp.worker.embedding import BATCH_TOKENS, split_batches
from vanta_llamacpp.worker.inbox import EmbedTask, ForgetTask, Inbox, LoadTask
from vanta_llamacpp.worker.job import Job, JobEnd
from vanta_llamacpp.worker.mailbox import Mailbox
from vanta_llamacpp.worker.worker import Worker

__all__ = [
    "BATCH_TOKENS",
    "EmbedTask",
    "ForgetTask",
    "Inbox",
    "Job",
    "JobEnd",
    "LoadTask",
    "Mailbox",
    "Worker",
    "split_batches",
]
