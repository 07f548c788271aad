"""The loaded model: its file, header checks, memory, vocabulary and saved KV caches."""
