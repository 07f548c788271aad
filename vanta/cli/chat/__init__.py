"""`vanta chat`: a conversation at the terminal."""
