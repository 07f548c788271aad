"""Embeddings computed by llama.cpp: the embedder and its vectors."""
