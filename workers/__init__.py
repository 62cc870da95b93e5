"""Who keeps source and index equal: watching, listing, refreshing, sweeping, auditing."""
