"""`tracks.NAME.options` of a track whose engine is `openai`, `memory.embedder_options` of the
embedder `openai`.

Invariant: no option holds a secret, so that a configuration can be shown, logged and committed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_NO_KEYS_HERE = (
    "an API key has no place in a configuration: put it into an environment variable "
    "(OPENAI_API_KEY, or the one that the option 'api_key_env' names) or into a file that the "
    "option 'api_key_file' names"
)


class ServerOptions(BaseModel):
    """How to reach a server."""

    # Inputs are kept out of error texts: what was written by mistake may be a key.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: str | None = None
    """Where the server is, with its `/v1`. Default: the environment variable OPENAI_BASE_URL,
    else https://api.openai.com/v1."""

    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key."""

    api_key_file: Path | None = None
    """A file that holds the key and nothing else; it goes before the environment."""

    organization: str | None = None
    """The organization that pays, where a key belongs to several."""

    connect_timeout_s: float = Field(default=5.0, gt=0)
    """Seconds to wait for a connection, TLS included. What comes after is the turn's to bound."""

    @model_validator(mode="before")
    @classmethod
    def _no_inline_key(cls, data: Any) -> Any:
        if isinstance(data, dict) and "api_key" in data:
            raise ValueError(_NO_KEYS_HERE)
        return data

    @field_validator("base_url")
    @classmethod
    def _a_web_address(cls, value: str | None) -> str | None:
        from vanta_openai.server import check_url

        if value is not None:
            check_url(value)
        return value


class OpenAIOptions(ServerOptions):
    """`tracks.NAME.options`: what a server can do beyond OpenAI's protocol, too."""

    include_usage: bool = True
    """Ask for the token counts at the end of a stream; false for servers that reject
    `stream_options`. Without it counts are estimates."""

    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] | None = None
    """The request's name for the limit of output tokens. Default: `max_completion_tokens` for
    api.openai.com, `max_tokens` for every other server."""

    extended_sampling: bool = False
    """The server takes top_k, min_p, repeat_penalty and grammar, which OpenAI's protocol lacks
    (llama-server does, vLLM does but for grammar)."""

    prefix_continuation: bool | Literal["vllm"] = False
    """The server continues an answer whose beginning is sent as the last message (llama-server
    does). "vllm": it does so only if told to by vLLM's own request fields."""

    tiktoken_dir: Path | None = None
    """A directory with tiktoken's files of ranks (`o200k_base.tiktoken`...), for exact counts of
    OpenAI's models. Without it the directory that TIKTOKEN_CACHE_DIR names, tiktoken's own cache
    and installed packages are looked through; nothing is fetched."""


class EmbedderOptions(ServerOptions):
    """`memory.embedder_options`: which vectors are wanted, and how they are asked for."""

    dimensions: int | None = Field(default=None, ge=1)
    """Components of a vector, for models that can shorten theirs. Default: the model's own."""

    batch: int = Field(default=64, ge=1, le=2048)
    """Texts of one request."""

    timeout_s: float = Field(default=30.0, gt=0)
    """Seconds that one request may take."""

    most_bytes: int = Field(default=8191, ge=1)
    """Bytes of a text that are sent, in UTF-8. No token is shorter than a byte, so that a text is
    never refused by a model with a window of so many tokens."""
