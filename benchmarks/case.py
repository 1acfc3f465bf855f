"""What is measured: a random model of a given shape, random prompts, thresholds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from acdc_pipeline.engine.span_rows import graph_spans
from acdc_pipeline.graph import Topology
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.spans import token_spans, with_answers


@dataclass(frozen=True)
class Case:
    """A GPT-2-shaped model and prompts, all drawn from one seed."""

    layers: int
    heads: int
    d_model: int
    vocab: int
    prompts: int
    tokens: int
    seed: int = 0
    # Standard deviation of the weights; at GPT-2's own 0.02 edges hardly differ in what they carry.
    spread: float = 0.05
    # A span for each token.
    positions: bool = False

    @property
    def name(self) -> str:
        """The shape, readable."""
        return f"{self.layers}L {self.heads}H d{self.d_model} V{self.vocab} σ{self.spread:g}"

    @property
    def topology(self) -> Topology:
        """The graph of the model on the prompts."""
        plain = Topology(self.layers, self.heads, has_mlp=True)
        spans = self.make_prompts().spans
        return plain if spans is None else replace(plain, **vars(graph_spans(spans, False)))

    def save_model(self, folder: Path) -> Path:
        """The model as a `save_pretrained` directory, made once."""
        numbers = (self.layers, self.heads, self.d_model, self.vocab, self.seed, self.spread)
        directory = folder / "-".join(map(str, numbers))
        if (directory / "config.json").is_file():
            return directory
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(self.seed)
        config = GPT2Config(
            n_layer=self.layers,
            n_head=self.heads,
            n_embd=self.d_model,
            vocab_size=self.vocab,
            n_positions=max(64, self.tokens),
            initializer_range=self.spread,
            bos_token_id=0,
            eos_token_id=0,
        )
        GPT2LMHeadModel(config).save_pretrained(directory)
        return directory

    def make_prompts(self) -> PromptSet:
        """Random clean and corrupted tokens; the answer is read at the last position."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.prompts, self.tokens)
        prompts = PromptSet(
            clean=torch.randint(self.vocab, shape, generator=generator),
            corrupted=torch.randint(self.vocab, shape, generator=generator),
            lengths=torch.full((self.prompts,), self.tokens),
            answer_row=torch.arange(self.prompts),
            answer_pos=torch.full((self.prompts,), self.tokens - 1),
            correct=((0,),) * self.prompts,
            incorrect=((1,),) * self.prompts,
            clean_text=("",) * self.prompts,
            corrupted_text=("",) * self.prompts,
            template=(0,) * self.prompts,
        )
        if not self.positions:
            return prompts
        spans = token_spans(prompts.lengths.tolist(), self.tokens, "benchmark")
        spans = with_answers(spans, prompts.answer_row, prompts.answer_pos)
        return replace(prompts, spans=spans)


SMALL = Case(layers=6, heads=8, d_model=256, vocab=5000, prompts=16, tokens=15)
# Effects are so large that dense circuits, too, are cut far above the rounding of float32.
WIDE = replace(SMALL, spread=0.5)
# A graph of so few edges that each of them can be tested at every token.
SHORT = Case(layers=4, heads=4, d_model=128, vocab=1000, prompts=8, tokens=8, spread=0.5)
GPT2_SMALL = Case(layers=12, heads=12, d_model=768, vocab=50257, prompts=16, tokens=15)
