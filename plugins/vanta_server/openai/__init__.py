"""OpenAI's surface: chat completions and the list of models."""
