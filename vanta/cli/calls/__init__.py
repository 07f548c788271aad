"""`vanta calls` and `vanta approvals`: the journal of tool calls, and decisions about them."""
