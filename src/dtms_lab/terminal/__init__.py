"""The simulated terminal: the surface, the strictness and the codes of the MetaTrader 5 package, over a server of our own.

Layers, as in the field: the package (`surface`), the pipe (`link`), the terminal with its cached view (`backend`, `view`),
the trade server that holds the truth (`server` and what it is made of). It is a model written from documentation and was
never compared with a live trade server.
"""
