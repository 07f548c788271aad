"""Documents for memory: text, Markdown, HTML and PDF files, read and cut by their structure.

    document = read_document(Path("handbook.md"))
    for chunk in chunk_document(document):
        print(chunk.source, chunk.text)

Invariant: a file is untrusted. Reading it is bounded in size, uses nothing outside the file, and
fails only with UnreadableDocument, which names the file and the next step.
"""

from vanta.memory.documents.chunking import Chunk, chunk_document
from vanta.memory.documents.document import Block, Document
from vanta.memory.documents.reading import read_document

__all__ = ["Block", "Chunk", "Document", "chunk_document", "read_document"]
