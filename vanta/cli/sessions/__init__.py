"""`vanta sessions`: the conversations in the store."""
