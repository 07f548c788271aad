"""The built-in plugin `embedders`: texts to vectors on this machine, without network."""
