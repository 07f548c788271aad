"""Prompts: chat templates in a metered sandbox, tools, and the parser of what a model writes."""
