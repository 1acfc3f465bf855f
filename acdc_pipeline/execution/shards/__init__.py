"""One run whose prompts are spread over workers.

Every worker holds the model and its own groups of prompts (`engine.prompt_groups`). The driver
takes the decisions: it sends which circuits to evaluate, and receives one number per circuit and
group. Activations never travel, and the sums over groups do not depend on the number of workers.
"""
