"""Documents for memory: text, Markdown, HTML and PDF files, read and cut by their structure.

    document = read(Path("handbook.md"))
    for chunk in chunks(document):
        print(chunk.source, chunk.text)

Invariant: a file is untrusted: reading it is bounded in size, takes nothing that is not in it, and
raises UnreadableDocument, which names the file and the next step, or nothing at all.
"""

from vanta.memory.documents.chunking import Chunk, chunks
from vanta.memory.documents.document import Block, Document
from vanta.memory.documents.reading import read

__all__ = ["Block", "Chunk", "Document", "chunks", "read"]
