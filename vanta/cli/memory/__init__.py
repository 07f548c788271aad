"""`vanta memory`: search memory, add to it, export, import and forget."""
