"""What the system may do by itself and why: causes, modes, the kill switch, and whether work gets done."""
