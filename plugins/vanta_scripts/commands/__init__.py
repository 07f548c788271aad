"""The commands `vanta run` and `vanta scripts`."""
