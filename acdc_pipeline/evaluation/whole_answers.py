"""Metrics of answers of several tokens, each predicted behind its prompt and its own beginning.

log P(answer | prompt) is the sum of the log-probabilities of its tokens, each given the prompt and
the answer's tokens before it (teacher forcing). A metric that compares tokens of the vocabulary
compares the answers of a prompt in their place.
"""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine import Bench
from acdc_pipeline.metrics import METRICS, MetricInputs, kl_divergence
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.prompt_set import WholeAnswers
from acdc_pipeline.specs.names import MetricKey


class WholeAnswerScores:
    """Metrics of each prompt of a bench whose prompts have whole answers."""

    def __init__(self, bench: Bench, whole: WholeAnswers) -> None:
        self._bench, self._whole = bench, whole
        self._prompts: PromptSet = bench.prompts
        self._device = bench.logprobs.device

    @cached_property
    def _token(self) -> Int[Tensor, " answer"]:
        return torch.tensor([ids[0] for ids in self._prompts.correct], device=self._device)

    @cached_property
    def _place(self) -> tuple[list[int], list[int]]:
        """Prompt of each row, and the number of its answer among those of the prompt."""
        question, first = list(self._whole.question), {}
        return question, [row - first.setdefault(q, row) for row, q in enumerate(question)]

    @cached_property
    def _is_correct(self) -> Bool[Tensor, " batch"]:
        return torch.tensor(self._whole.correct, device=self._device)

    @cached_property
    def position_weight(self) -> Float[Tensor, " answer"]:
        """The weight of each position in the KL divergence of its prompt; 0 in incorrect answers.

        The divergence of a prompt is the mean over the tokens of an answer, and over its correct
        answers.
        """
        row = self._prompts.answer_row
        length = torch.bincount(row, minlength=len(self._prompts)).double()
        question = torch.tensor(self._whole.question, device=self._device)
        right = self._is_correct.double()
        answers = torch.zeros(len(self._whole), dtype=right.dtype, device=self._device)
        answers.index_add_(0, question, right)
        return (right / length / answers[question])[row]

    def kl_weight(self) -> Float[Tensor, " answer"]:
        """The weight of each position in the mean over prompts, 1 in total."""
        question = torch.tensor(self._whole.question, device=self._device)
        of_prompt = self._bench.answer_weight
        if of_prompt is None:
            return self.position_weight / len(self._whole)
        return self.position_weight * of_prompt[question[self._prompts.answer_row]]

    def answer_logprobs(
        self, logprobs: Float[Tensor, "*state answer vocab"]
    ) -> Float[Tensor, "*state batch"]:
        """Return log P of the answer of each row, in nats."""
        token = self._token.expand(logprobs.shape[:-1])[..., None]
        return self._sum_of_rows(logprobs.gather(-1, token).squeeze(-1))

    def score(
        self, metric: MetricKey, logprobs: Float[Tensor, "*state answer vocab"]
    ) -> Float[Tensor, "*state question"]:
        """Return the metric of each prompt, in its own sign.

        `kl` is the mean over the tokens of the correct answers; `accuracy` is 1 where every token
        of a correct answer is the most likely one, so that greedy decoding gives the answer; the
        others are those of single tokens with answers in place of tokens.
        """
        if metric == "kl":
            each = kl_divergence(self._bench.logprobs, logprobs)
            weighted = each * self.position_weight.to(each.dtype)
            return self._by_prompt(self._sum_of_rows(weighted)).sum(-1)
        if metric == "accuracy":
            wrong = (logprobs.argmax(-1) != self._token).to(logprobs.dtype)
            right = (self._sum_of_rows(wrong) == 0) & self._is_correct
            return self._by_prompt(right.to(logprobs.dtype)).amax(-1)
        present = self._by_prompt(torch.ones_like(self._is_correct))
        correct = self._by_prompt(self._is_correct)
        inputs = MetricInputs(
            self._by_prompt(self.answer_logprobs(self._bench.logprobs)),
            self._by_prompt(self.answer_logprobs(logprobs)),
            correct,
            present & ~correct,
        )
        return METRICS[metric].score(inputs)

    def _sum_of_rows(self, values: Float[Tensor, "*state answer"]) -> Float[Tensor, "*state batch"]:
        total = values.new_zeros(*values.shape[:-1], len(self._prompts))
        return total.index_add(-1, self._prompts.answer_row, values)

    def _by_prompt(self, values: Tensor) -> Tensor:
        """Return values of rows by prompt and answer; 0 or False where a prompt has no more."""
        question, number = self._place
        shape = (*values.shape[:-1], len(self._whole), max(number) + 1)
        out = values.new_zeros(shape)
        out[..., question, number] = values
        return out
