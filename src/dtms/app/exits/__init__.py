"""The exit manager: its cycle, what its rules see, and what is told when they are denied for long."""
