"""The DTMS server's pass over all trades: facts, decision, plan; and what is checked of its own work."""
