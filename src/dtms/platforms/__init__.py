"""What one system has and another has not, behind one face: clocks, files and their rights, processes and their ends.

The only place where that is asked. What a system lacks is found by looking for it, never by the system's name, so that a run
without it (`tests/posix_blind`) goes the way that another system goes.
"""
