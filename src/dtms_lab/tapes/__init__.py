"""Market tapes: readers of what exporters write, and synthetic markets."""
