"""Storage of transcripts and records of turns."""
