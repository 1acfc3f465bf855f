"""Families of models: checkpoints, seeds and fine-tunes, and how common a kind of head is."""
