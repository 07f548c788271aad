"""`vanta tools`: the tools that models may call."""
