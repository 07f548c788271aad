"""Prompt templates: files that shape what a model is told, rendered where they can do no harm.

Invariant: nothing here imports Jinja or YAML before a template is used, and rendering a template
reads no file outside the template folders, changes nothing, and ends.
"""

from vanta.prompts.defaults import TurnDefaults
from vanta.prompts.front_matter import Template, Variable
from vanta.prompts.limits import RenderLimits
from vanta.prompts.live import LivePrompts, Rendered, SystemPrompt
from vanta.prompts.templates import Templates

__all__ = [
    "LivePrompts",
    "RenderLimits",
    "Rendered",
    "SystemPrompt",
    "Template",
    "Templates",
    "TurnDefaults",
    "Variable",
]
