"""Runs: planned, executed by a worker here or on Ray, committed."""
