"""Where masks of single neurons have an exact meaning."""

from __future__ import annotations

from acdc_pipeline.engine.bench import Bench
from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.graph.neurons import NeuronMasks


def check_masks(bench: Bench, neurons: NeuronMasks, model: str) -> None:
    """Raise UnsupportedModel where masks have no exact meaning.

    If outputs of heads are normalised together, what a mask leaves of one changes what the norm
    makes of the others. Only LayerNorm does not see the mean that centring takes away.
    """
    topology = bench.weights.topology
    norms = {bench.weights.norm_final.kind}
    for block in bench.weights.shapes:
        norms |= {norm.kind for norm in (block.norm_attn, block.norm_mlp) if norm is not None}
    if neurons.basis == "centred" and norms != {"layer"}:
        raise UnsupportedModel(
            "its norms are not all LayerNorms, and others see the mean that centring takes away",
            where=model,
            fix="mask in the stored basis",
        )
    for layer, block in enumerate(bench.weights.shapes):
        heads = [topology.source_index[node] for node in topology.heads(layer)]
        together = "the sum of its heads" if block.post_attn is not None else None
        if block.attn is not None and block.attn.z_norm_eps is not None:
            together = "what its heads carry together"
        if together is not None and not neurons.kept[heads].all():
            raise UnsupportedModel(
                f"layer {layer} normalises {together}, so that neuron masks of heads "
                "have no exact meaning here",
                where=model,
                fix="keep all neurons of heads, and mask those of MLPs and of the input",
            )
