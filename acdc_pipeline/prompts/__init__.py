"""Prompts: clean texts and their counterfactuals, made for one model's tokenizer."""

from acdc_pipeline.prompts.alignment import align
from acdc_pipeline.prompts.make import answer_form, make_prompts, word_uses
from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.pairs import load_pairs
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.split import Split, is_held_out
from acdc_pipeline.prompts.token_ids import id_prompts

__all__ = [
    "Pair",
    "PromptSet",
    "Split",
    "align",
    "answer_form",
    "id_prompts",
    "is_held_out",
    "load_pairs",
    "make_prompts",
    "word_uses",
]
