"""Random problems and files."""
