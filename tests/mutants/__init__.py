"""Programs that count which small faults the tests notice."""
