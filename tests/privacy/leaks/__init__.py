"""Ways in which private text could leave this machine, each tried with real parts."""
