"""Building blocks of every HTTP service: guard, problems, strict bodies, hot reads, events, health, metrics.

Pure ASGI only: every part but the event stream and the socket server also runs when an application is driven by hand,
without an event loop, on virtual time (`in_process`). Routes and dependencies are therefore always `async def`.
"""
