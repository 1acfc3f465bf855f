"""The method whose circuits are proposed by gradients and decided by exact tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from acdc_pipeline.graph.topology import Topology
from acdc_pipeline.specs.methods.base import NO_GRADIENT, Default
from acdc_pipeline.specs.methods.scored import ScoredMethod
from acdc_pipeline.specs.names import MetricKey, Rank

ATTENTION_ONLY = 0.95
"""What keeping edges apart adds to a forward weighs more without MLPs: the budget is smaller."""


class EapExactMethod(ScoredMethod):
    """Circuits of falling size, proposed by gradients and decided by exact tests.

    Args:
        budget: the most that may be spent, in forwards of the model; a backward counts as two.
            None means what `eap-ig-activations` costs, see `forwards`.
    """

    VERSION: ClassVar[int] = 3
    SCORE: ClassVar[str] = (
        "circuits of the nest that have it, plus a rank for {metric} among edges in as many"
    )
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.eap_exact:eap_exact"

    name: Literal["eap-exact"]
    budget: Annotated[float | None, Field(gt=0), Default(None)]

    @property
    def ranking(self) -> Rank:
        return "signed"

    def forwards(self, topology: Topology) -> float:
        """The budget: half of the three forwards for each point and group of `eap-ig-activations`.

        Each of its groups (`input`, the heads, the mixer and the MLP of each layer) has five
        points, each with a forward and a backward of what follows the group: half of the model, on
        average, and half a layer less for each where the parts of a layer are parallel, which is
        one group less in all. Without MLPs it is `ATTENTION_ONLY` of that.
        """
        if self.budget is not None:
            return self.budget
        layers = range(topology.n_layers)
        groups = sum(len(topology.parts(layer)) for layer in layers) + (not topology.parallel)
        share = 1.0 if any(topology.mlp_nodes(layer) for layer in layers) else ATTENTION_ONLY
        return share * groups * 5 * 3 / 2
