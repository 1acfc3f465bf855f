"""The memory that a search takes, computed from the shapes of model and prompts."""

from __future__ import annotations

from dataclasses import dataclass

from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.graph import Topology


@dataclass(frozen=True)
class ModelShape:
    """The sizes that determine how large activations are."""

    topology: Topology
    d_model: int
    d_head: int
    d_mlp: int
    vocab: int


@dataclass(frozen=True)
class MemoryPlan:
    """The memory of a search on `prompts` rows of `tokens` tokens, without the weights.

    Args:
        itemsize: bytes of one activation.
    """

    shape: ModelShape
    prompts: int
    tokens: int
    answers: int
    itemsize: int = 4

    @property
    def sources(self) -> int:
        """Bytes of the outputs of all sources: clean, ablated, and the difference."""
        return 3 * len(self.shape.topology.sources) * self._stream

    @property
    def receivers(self) -> int:
        """Bytes of the inputs, keys, queries and patterns of all receivers.

        A search holds those of the receivers it has visited: only a part if the circuit is sparse.
        """
        topology = self.shape.topology
        single = len(topology.sources) - 1 - topology.n_heads_total  # MLPs and mixers
        return (len(topology.receivers) + single) * self._stream + self._n_heads * self._head

    @property
    def state(self) -> int:
        """Bytes of one state that reaches every node at every position."""
        n_nodes = len(self.shape.topology.sources)
        return self.state_bytes(everywhere=n_nodes, at_answers=n_nodes, heads=self._n_heads)

    @property
    def logits(self) -> int:
        """Bytes of one state's logits and of copies of them; a temporary."""
        return 4 * self.answers * self.shape.vocab * self.itemsize

    @property
    def most(self) -> int:
        """Bytes of a search that keeps every edge and evaluates one state at a time."""
        return self.sources + self.receivers + self.state

    def state_bytes(self, *, everywhere: int, at_answers: int, heads: int) -> int:
        """Bytes of one state that reaches this many nodes at every position and at the answers.

        The sum of what the batch keeps and its largest temporary: the inputs of one layer's heads
        (raw and normalised, three slots), what the experts of a mixture read (raw and normalised)
        and write, the hidden units of an MLP (before and after the activation), or the logits and
        copies of them.
        """
        answers = self.answers * self.shape.d_model * self.itemsize
        kept = everywhere * self._stream + at_answers * answers + heads * self._head
        own = 4 * self._stream
        layer = 6 * min(heads, self.shape.topology.n_heads) * self._stream
        experts = max(self.shape.topology.experts, default=0)
        layer = max(layer, 4 * (experts + 2) * self._stream if experts else 0)
        hidden = 4 * self.prompts * self.tokens * self.shape.d_mlp * self.itemsize
        return kept + own + max(layer, hidden, self.logits)

    def require(self, budget: int) -> None:
        """Raise OutOfMemoryBudget if not even the sources fit into `budget` bytes."""
        if self.sources > budget:
            raise OutOfMemoryBudget(
                f"{self.prompts} prompts need {self.sources / 1e6:,.1f} MB before the first edge "
                f"is tried, the budget is {budget / 1e6:,.1f} MB",
                fix="use fewer prompts or a larger memory budget (--memory, or memory of the "
                "profile)",
            )

    @property
    def _stream(self) -> int:
        return self.prompts * self.tokens * self.shape.d_model * self.itemsize

    @property
    def _n_heads(self) -> int:
        return self.shape.topology.n_heads_total

    @property
    def _head(self) -> int:
        return self.prompts * self.tokens * (4 * self.shape.d_head + self.tokens) * self.itemsize
