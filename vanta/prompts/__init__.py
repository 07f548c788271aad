"""Prompt templates: files that shape a model's prompt, rendered where they can do no harm.

Invariant: nothing here imports Jinja or YAML before a template is used, and rendering a template
reads no file outside the template folders, changes nothing, and ends within its limits.
"""

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front
from vanta.installation import templates_dir
from vanta.prompts.front_matter import Template, TurnDefaults, Variable
from vanta.prompts.live import LivePrompts, RenderedPrompt, SystemPrompt
from vanta.prompts.sandbox.contract import AllowList, RenderLimits, SandboxError
from vanta.prompts.templates import Templates

if TYPE_CHECKING:
    from vanta.prompts.analysis import TextSpan
    from vanta.prompts.sandbox.environment import MeteredEnvironment, render
    from vanta.prompts.sandbox.meter import metering

__all__ = [
    "AllowList",
    "LivePrompts",
    "MeteredEnvironment",
    "RenderLimits",
    "RenderedPrompt",
    "SandboxError",
    "SystemPrompt",
    "Template",
    "Templates",
    "TextSpan",
    "TurnDefaults",
    "Variable",
    "metering",
    "render",
    "templates_dir",
]

_LAZY = {
    ".analysis": "TextSpan",
    ".sandbox.environment": "MeteredEnvironment render",
    ".sandbox.meter": "metering",
}


__getattr__ = lazy_front(__name__, _LAZY)
