"""The optional libraries that formats need. Invariant: one that is missing is named with the extra
that brings it."""

from __future__ import annotations

import importlib

from vanta.errors import UnreadableDocument
from vanta.installation import install_hint


def require(library: str, name: str, what: str) -> None:
    """Make sure that `library` can be imported, for the file `name`, which is `what` ("a PDF").

    Raises UnreadableDocument.
    """
    try:
        importlib.import_module(library)
    except ImportError as error:
        raise UnreadableDocument(
            f"{name!r} is {what}, which needs the library {library!r}. "
            f"Install it: {install_hint('documents')}."
        ) from error
