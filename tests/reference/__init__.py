"""The reference against the oracle, and the oracle against hand counts."""
