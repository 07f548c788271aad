"""Prompts: chat templates in a metered sandbox, tools, and the parser of a model's output.

Invariant: text of messages, tools and results never becomes a control token of the prompt.
"""

from __future__ import annotations

from vanta_llamacpp.prompt.output_parser import OutputParser, ParsedOutput
from vanta_llamacpp.prompt.prompt import Prompter, TokenizedRequest

__all__ = ["OutputParser", "ParsedOutput", "Prompter", "TokenizedRequest"]
