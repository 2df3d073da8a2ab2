"""The page: its file, and the page in a browser."""
