"""How anything is printed: streams, tables, progress, error messages."""
