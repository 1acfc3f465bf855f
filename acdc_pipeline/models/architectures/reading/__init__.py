"""What both readers of models share: norms, rotary tables, MLPs and scales."""
