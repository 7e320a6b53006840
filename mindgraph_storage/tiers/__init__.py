"""The three tiers: the only code that touches storage."""
