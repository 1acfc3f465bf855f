"""What a user asks for, without a terminal: discovery, evaluation, sweeps, regression, export."""
