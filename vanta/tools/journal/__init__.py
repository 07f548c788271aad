"""The durable record of tool calls, written before and after each runs."""
