"""Conversion of GGUF files and LoRA adapters into cached folders of plain float32 weights."""
