"""Checkpoints of other kinds, made into folders of plain float32 weights.

One file for each kind: GGUF files, quantised checkpoints, LoRA adapters. What takes long to make
is kept in the cache (`cache.py`).
"""
