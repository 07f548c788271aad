"""The worker thread: queue, batches, slots and the step planner."""
