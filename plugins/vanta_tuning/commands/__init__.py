"""The commands `vanta replay`, `vanta tune`, `vanta route` and `vanta gate`."""
