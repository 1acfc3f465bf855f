"""auto-circuit's side: run by its own environment's Python, with files in and JSON out.

It cannot import this package (TransformerLens 2 and 4 exclude each other), so it is given the
model directory, the prompts and the edge order, in auto-circuit's own edge names.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")


def main(request_file: str) -> None:
    """Answer the request in `request_file` on standard output."""
    import torch
    from auto_circuit.data import PromptDataLoader, PromptDataset
    from auto_circuit.prune_algos.ACDC import acdc_prune_scores
    from auto_circuit.utils.graph_utils import patchable_model

    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    torch.set_num_threads(request["threads"])
    dtype = getattr(torch, request["dtype"])
    torch.set_default_dtype(dtype)
    device = torch.device(request["device"])
    model = _model(request["model"], device, dtype)
    patchable = patchable_model(
        model,
        factorized=True,
        slice_output="last_seq",
        seq_len=request["tokens"],
        separate_qkv=True,
        device=device,
    )
    by_name = {(edge.name, edge.seq_idx): edge for edge in patchable.edges}
    order = [(name, position) for name, position in request["order"]]
    # Edges into the final stream that no answer reads are not in the order; they change nothing.
    patchable.edges = [by_name[key] for key in order] + [
        edge for key, edge in by_name.items() if key not in set(order)
    ]
    data = PromptDataset(
        torch.tensor(request["clean"], device=device),
        torch.tensor(request["corrupted"], device=device),
        [torch.tensor([0], device=device)] * len(request["clean"]),
        [torch.tensor([1], device=device)] * len(request["clean"]),
    )
    loader = PromptDataLoader(
        data,
        seq_len=None,
        diverge_idx=0,
        batch_size=len(request["clean"]),
        shuffle=False,
    )
    answers = []
    for base, exponent in request["thresholds"]:
        started = time.perf_counter()
        scores = acdc_prune_scores(patchable, loader, None, tao_exps=[exponent], tao_bases=[base])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - started
        kept = [key for key in order if torch.isinf(by_name[key].prune_score(scores))]
        answers.append({"seconds": seconds, "kept": kept})
    peak = _resident_peak()
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    json.dump({"tested": len(by_name), "answers": answers, "peak_bytes": peak}, sys.stdout)


def _resident_peak() -> int:
    """Bytes. Linux hands `ru_maxrss` on from the parent process; VmHWM is a process's own."""
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _model(directory: str, device, dtype):
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.loading_from_pretrained import convert_gpt2_weights
    from transformers import GPT2LMHeadModel

    source = GPT2LMHeadModel.from_pretrained(directory).to(dtype)
    shape = source.config
    config = HookedTransformerConfig(
        n_layers=shape.n_layer,
        d_model=shape.n_embd,
        n_heads=shape.n_head,
        d_head=shape.n_embd // shape.n_head,
        n_ctx=shape.n_positions,
        d_vocab=shape.vocab_size,
        d_mlp=4 * shape.n_embd,
        act_fn="gelu_new",
        normalization_type="LN",
        eps=shape.layer_norm_epsilon,
        device=str(device),
        dtype=dtype,
    )
    model = HookedTransformer(config)
    model.load_and_process_state_dict(
        convert_gpt2_weights(source, config),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    model.cfg.use_attn_result = True
    model.cfg.use_split_qkv_input = True
    model.cfg.use_hook_mlp_in = True
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.to(device, dtype)


if __name__ == "__main__":
    main(sys.argv[1])
