"""The exact search: a circuit cut from the whole model, one edge at a time."""
