"""The check of `vanta doctor` on chat templates: which messages each local model's own one refuses.

Invariant: it reads the header of a file and loads no model; a missing file is another check's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import anyio.to_thread

from vanta import Check, DiagnosisContext, Finding, VantaError
from vanta.models import GgufError, read_gguf
from vanta_llamacpp.errors import ENGINE
from vanta_llamacpp.model import ModelFacts, facts_of
from vanta_llamacpp.prompt.chat_template import ChatTemplate, ChatTemplateError

NAME = "chat templates"


def template_check() -> Check:
    """Return the check."""
    return Check(NAME, _check)


async def _check(context: DiagnosisContext) -> Finding:
    return await anyio.to_thread.run_sync(partial(_look, context), abandon_on_cancel=True)


def _look(context: DiagnosisContext) -> Finding:
    sentences = []
    refused = False
    for track, facts in _models(context):
        try:
            template = ChatTemplate(facts.chat_template or "")
            rules = template.rules
        except ChatTemplateError as error:
            refused = True
            sentences.append(f"{track!r}: its own template cannot be used: {error}")
            continue
        done = str(rules) or "messages are used as they are"
        calls = "" if template.knows_tools else "; it calls tools as the template 'tools/use' says"
        done = f"{done if facts.chat_template else 'the file has none'}{calls}"
        sentences.append(f"{track!r}: {done}")
    detail = "; ".join(sentences) or "no model of a local track is on disk"
    return Finding(NAME, None if refused or not sentences else True, detail)


def _models(context: DiagnosisContext) -> Iterator[tuple[str, ModelFacts]]:
    """Yield the enabled local tracks whose file can be read."""
    for name, track in context.config.tracks.items():
        if not track.enabled or track.engine != ENGINE:
            continue
        try:
            facts = facts_of(read_gguf(context.models.find(track.model).path))
        except (VantaError, GgufError, OSError):
            continue
        yield name, facts
