"""Figures for terminal, notebook, wiki and documentation: circuits, curves, plots, heat maps."""
