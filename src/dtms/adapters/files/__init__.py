"""Files in, files out: recorded and generated market tapes."""
