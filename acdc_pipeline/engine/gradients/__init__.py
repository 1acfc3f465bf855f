"""Gradients of an objective, by what receivers read and by gates on edges and nodes."""
