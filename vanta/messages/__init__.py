"""The data of engines and sessions: messages in, deltas out, usage at the end.

Invariant: everything here knows nothing of engines, tracks or turns, and all of it but what folds
deltas is frozen.
"""

from __future__ import annotations

from vanta.messages.answers import (
    Completion,
    Delta,
    EngineTimings,
    FinishReason,
    TokenLogprob,
    ToolCallPart,
    Usage,
)
from vanta.messages.content import read_content
from vanta.messages.folding import CallNumbering, Fold, ObjectEnd, add_fragment, fold
from vanta.messages.images import MAX_IMAGES, MAX_IMAGES_BYTES, Image
from vanta.messages.message import Exchange, Message, Role, ToolCall
from vanta.messages.parts import MessageContent
from vanta.messages.wire import content_data, message_data, read_message

__all__ = [
    "MAX_IMAGES",
    "MAX_IMAGES_BYTES",
    "CallNumbering",
    "Completion",
    "Delta",
    "EngineTimings",
    "Exchange",
    "FinishReason",
    "Fold",
    "Image",
    "Message",
    "MessageContent",
    "ObjectEnd",
    "Role",
    "TokenLogprob",
    "ToolCall",
    "ToolCallPart",
    "Usage",
    "add_fragment",
    "content_data",
    "fold",
    "message_data",
    "read_content",
    "read_message",
]
