"""Nested circuits: how they are measured, what that costs, and how they are made smaller."""
