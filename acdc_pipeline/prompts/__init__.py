"""Prompts: clean texts and their counterfactuals, made for the tokenizer of one model."""

from acdc_pipeline.prompts.alignment import align, align_ids
from acdc_pipeline.prompts.make import answer_form, make_prompts, word_uses
from acdc_pipeline.prompts.pairs import Pair, load_pairs
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.spans import Spans
from acdc_pipeline.prompts.split import Split, is_held_out

__all__ = [
    "Pair",
    "PromptSet",
    "Spans",
    "Split",
    "align",
    "align_ids",
    "answer_form",
    "is_held_out",
    "load_pairs",
    "make_prompts",
    "word_uses",
]
