"""The lab of dtms: the simulated broker, market tapes, simulation, and the drills that try to break the live system.

Nothing that runs live imports it: a broker is found by a module's name, and commands import it inside their bodies.
"""
