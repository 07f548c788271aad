"""`vanta demo`: a short conversation over both tracks."""
