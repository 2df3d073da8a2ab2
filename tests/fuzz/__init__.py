"""Problems and files drawn at random."""
