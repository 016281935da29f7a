"""The command line: thin commands over the services and the simulation. Heavy imports stand inside the commands."""
