"""What to do: indicators, structure, regime, score, machine, exits, rails, arbiter. No clock, no I/O, no randomness."""
