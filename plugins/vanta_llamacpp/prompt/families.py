"""Which chat template a model is talked to with: its file's own, the registry's, its family's.

Invariant: a family is only taken from what the file says for sure; a model that nothing is known of
is refused rather than talked to in a format that it may not know.
"""

from __future__ import annotations

from vanta.engine import ModelFile
from vanta.installation import templates_dir
from vanta_llamacpp.model.header_checks import ModelFacts
from vanta_llamacpp.model.vocabulary import Vocabulary

FAMILIES = ("alpaca", "chatml", "gemma", "llama2", "llama3", "mistral", "phi", "vicuna")
_BY_TOKEN = {
    "<|im_start|>": "chatml",
    "<|start_header_id|>": "llama3",
    "<start_of_turn>": "gemma",
    "<|end|>": "phi",
}
_BY_NAME = {
    "alpaca": "alpaca",
    "vicuna": "vicuna",
    "mixtral": "mistral",
    "mistral": "mistral",
    "llama-2": "llama2",
    "llama 2": "llama2",
    "llama2": "llama2",
}


def sources(file: ModelFile, facts: ModelFacts, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """The templates that could be used, as (whose, source), best first."""
    found = [("the file's", facts.chat_template)] if facts.chat_template else []
    listed = str(file.details.get("chat_template") or "")
    for whose, name in (("the registry's", listed), ("its family's", _family(facts, vocabulary))):
        if name in FAMILIES:
            found.append((f"{whose} ({name})", family_template(name)))
    return found


def family_template(name: str) -> str:
    """The source of one of FAMILIES."""
    return (templates_dir() / "chat" / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")


def _family(facts: ModelFacts, vocabulary: Vocabulary) -> str | None:
    for text, name in _BY_TOKEN.items():
        if vocabulary.is_control(text):
            return name
    return next((family for word, family in _BY_NAME.items() if word in facts.name.lower()), None)
