"""Text that others wrote, as data in a prompt.

Chat templates mark roles, calls and the ends of messages with short texts, which a tokenizer turns
into control tokens wherever they stand. The result of a tool, a document or a memory that contains
one would speak as the user, the system or the model itself. The table has the markers of the
templates that llama.cpp and the makers of open models ship, and vanta's own delimiters. Invariant:
cleaned text contains none of them, is cleaned in linear time, and is the same if cleaned twice.
"""

from __future__ import annotations

import re

_MARKERS = re.compile(
    r"""
      [<\uff1c] (?= \s*+ /? \s*+ (?: result | [\w:]{0,20} tool_?(?:call|response|result|use)s?
            | function(?:_calls?|_results?)? | (?:start|end|begin)_of_\w++ | think(?:ing)? | [su]
            | [be]os | pad | unk | mask | cls | sep | [es]op | eod | turn | message | channel
            | im_\w+ | system | developer | user | assistant | human | ipython | invoke | parameter
            | arg_(?:key|value) | img | image | unused_?\d+ | extra_id_\d+ | 0x[0-9a-f]{2}
            | fim_\w++ | repo_?name | file_?(?:sep|name) | gh_stars | issue_\w++ | jupyter_\w+
            | commit_\w++ | empty_output
            | role | seed:\w++            # Ling, Seed-OSS
            | special_\d++ | reserved_?\d++  # Nemotron, Baichuan
            | \u7528\u6237 | ai            # MiniCPM
            ) [^a-z] )
    | [<\uff1c] (?= \s*+ [|\uff5c] )
    | [<\uff1c] (?= [<\uff1c] \s*+ /? \s*+ sys )
    | \[ (?= \s*+ /? \s*+ (?: inst | tool_(?:calls?|results?|content) | available_tools | args
            | call_id | system_prompt | model_settings | think | img | cls | sep | unk | pad
            | g?mask | s?mask | [es]op | begin_of_\w++ | end_of_\w++
            | unused_?\d++               # openPangu
            ) \s*+ \] )
    | \[ (?= [|\uff5c] /? (?:system|user|assistant|human|tool|end\w*+|begin\w*+) [|\uff5c] \] )
    | \] (?= ~!?b[\[\]] ) | \[ (?= e~\[ )  # MiniMax
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""The first character of what chat templates use as markers, and of vanta's own delimiters."""

_WRITTEN = {"[": "&#91;", "]": "&#93;"}


def as_data(text: str) -> str:
    """Return text in which nothing reads as a delimiter, a role, a control token or a call.

    Only the first character of each such marker changes: `<` becomes `&lt;`, `[` becomes `&#91;`.

    :param text: text that others wrote.
    """
    return _MARKERS.sub(lambda found: _WRITTEN.get(found[0], "&lt;"), text)
