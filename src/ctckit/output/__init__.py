"""What an alignment is, and the formats in which it is written."""
