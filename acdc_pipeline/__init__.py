"""Automated circuit discovery as a distributed pipeline."""

__version__ = "0.1.0"
