"""The whole system over a tape, on virtual time or as real processes, and the report."""
