"""Tools above the contract: functions, arguments, results, registry, journal, permissions."""
