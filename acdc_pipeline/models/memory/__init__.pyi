from .held import HeldModel, MemoryModel, held_model_of, resolve_model

__all__ = ["HeldModel", "MemoryModel", "held_model_of", "resolve_model"]
