"""Circuits with neuron masks by hooks: every input is built anew from what the sources wrote."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tests.oracles.bridge_patching import BridgePatching


class MaskedPatching(BridgePatching):
    """KL(model ‖ circuit) at the last position, for edges that carry some of the dimensions."""

    def masked_kl(self, edges: set[str], kept: Mapping[str, Tensor]) -> float:
        """Mean over prompts, in nats.

        Args:
            edges: those of the circuit.
            kept: by source, 1 for each dimension that its edges carry and 0 for the others; a
                source that is not named carries all.
        """
        written: dict[str, Tensor] = {}

        def read(x: Tensor, receiver: str) -> Tensor:
            for source, output in written.items():
                share = torch.zeros(x.shape[-1], dtype=x.dtype)
                if f"{source}->{receiver}" in edges:
                    share = kept.get(source, torch.ones(x.shape[-1])).to(x.dtype)
                x = x + (1 - share) * (self.ablated[source] - output)
            return x

        hooks = [*self.readers(written), *self.receivers(read)]
        with torch.no_grad():
            logits = self.bridge.run_with_hooks(self.clean, fwd_hooks=hooks)
        circuit = logits[:, -1].log_softmax(-1)
        per_prompt = (self.model_logprobs.exp() * (self.model_logprobs - circuit)).sum(-1)
        return float(per_prompt.mean())
