"""The broker's reads as a service may use them: of the right account, and never silently old."""
