"""What every attention head does: scores, nulls, roles and examples.

Imported without torch: `roles` and `summary` read what is stored. What computes is in
`heads.profile` and the modules it names, one for each family of score. There, `memory` is always
the number of bytes for activations, and OutOfMemoryBudget is raised if a single row does not fit.
"""
