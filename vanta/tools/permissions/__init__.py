"""Which calls may run: rules, patterns, standing approvals, and how a person is asked."""
