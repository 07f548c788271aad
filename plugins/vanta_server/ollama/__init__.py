"""Ollama's surface, so that programs that look for it find this server."""
