"""The metered Jinja sandbox, shared by prompt templates and the chat templates of models.

Both run code of others: a project's folder, a model's file. They differ only in their `AllowList`
and their `RenderLimits`. Invariant: a rendering ends within its limits, in time and memory, and
raises `SandboxError` otherwise. Other rooms import these names from `vanta.prompts`.
"""
