"""Recorded tapes as bars, and random tapes, for the score's tests."""
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
