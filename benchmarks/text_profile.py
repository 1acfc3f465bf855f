"""How long heads take on ordinary text, beside one forward over the same contexts.

    python -m benchmarks.text_profile MODEL [--text FILE] [--tokens 20000] [--threads 2]

Without a file it reads the prompts of the bundled tasks, one after the other. Prints the seconds of
both, on the wall and of CPU, and the largest memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch

from acdc_pipeline.execution.profile_run import bos_of
from acdc_pipeline.heads.batches import chunks, rows_in_cache
from acdc_pipeline.heads.layer_run import run_tokens
from acdc_pipeline.heads.natural.contexts import draw_contexts
from acdc_pipeline.heads.natural.profile import profile_text
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import find_task
from acdc_pipeline.specs.text_files import NamedText, read_texts

TASKS = ("ioi", "docstring", "greater_than")
MEMORY = 2 << 30


def main() -> None:
    """Measure and print one line for each step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_model(given.model, device="cpu")
    tokenizer, weights = model.tokenizer, model.weights
    assert tokenizer is not None, "the model has no tokenizer"
    if given.text is None:
        parts = (make_prompts(find_task(t), tokenizer, n=400, seed=0).clean_text for t in TASKS)
        texts = (NamedText("prompts of tasks", tuple("\n".join(part) for part in parts)),)
    else:
        texts = read_texts([given.text], "--text")
    contexts = draw_contexts(
        weights, tokenizer, texts, bos=bos_of(model), tokens=given.tokens, context=128, seed=0
    )
    size = rows_in_cache(weights, contexts.tokens.shape[1])
    started = _clocks()
    with torch.no_grad():
        for rows in chunks(len(contexts.tokens), size):
            run_tokens(weights, contexts.tokens[rows])
    floor = _clocks() - started
    started = _clocks()
    found = profile_text(weights, tokenizer, texts, contexts, seed=0, memory=MEMORY)
    whole = _clocks() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{found['tokens']:,} tokens in {len(contexts.tokens)} contexts, {given.threads} threads")
    for what, (seconds, cpu) in (("forward", floor), ("all heads", whole)):
        print(f"{what}: {seconds:.1f} s, {cpu:.1f} s of CPU")
    print(f"peak memory {peak:,.0f} MiB")


def _clocks() -> np.ndarray:
    """Seconds on the wall, and of CPU in this process."""
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    main()
