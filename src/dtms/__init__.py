"""Defensive Trade Management System: protects open trading positions."""
