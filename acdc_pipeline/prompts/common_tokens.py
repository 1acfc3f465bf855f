"""Tokens that prompts have in common: longest common subsequences, and their places."""

from __future__ import annotations

from collections.abc import Sequence


def common_subsequence(left: Sequence[str], right: Sequence[str]) -> list[str]:
    """Return the longest sequence that stands in both, with gaps or without."""
    longest = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in reversed(range(len(left))):
        for j in reversed(range(len(right))):
            longest[i][j] = (
                longest[i + 1][j + 1] + 1
                if left[i] == right[j]
                else max(longest[i + 1][j], longest[i][j + 1])
            )
    out = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            out.append(left[i])
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1
    return out


def place_tokens(constants: Sequence[str], prompt: Sequence[str]) -> list[int]:
    """Return the position in `prompt` of each of `constants`, a subsequence of it.

    Of all ways it is one with the most neighbours that stay neighbours; the beginning and the end
    of the prompt count as neighbours of the first and the last one.
    """
    n = len(prompt)
    scores: list[list[int | None]] = []  # neighbours so far, with this constant at this position
    origins: list[list[int]] = []
    for number, token in enumerate(constants):
        row: list[int | None] = [None] * n
        origin = [-1] * n
        best: int | None = None  # the best earlier place that is no neighbour
        best_at = -1
        for position in range(n):
            if number and position >= 2:
                before = scores[-1][position - 2]
                if before is not None and (best is None or before > best):
                    best, best_at = before, position - 2
            if prompt[position] != token:
                continue
            last = number == len(constants) - 1 and position == n - 1
            if number == 0:
                row[position] = int(position == 0) + int(last)
                continue
            choices = [(best, best_at)] if best is not None else []
            beside = scores[-1][position - 1] if position else None
            if beside is not None:
                choices.append((beside + 1, position - 1))
            if choices:
                score, origin[position] = max(choices)
                row[position] = score + int(last)
        scores.append(row)
        origins.append(origin)
    if not constants:
        return []
    at = max((score, place) for place, score in enumerate(scores[-1]) if score is not None)[1]
    out = [at]
    for origin in reversed(origins[1:]):
        out.append(origin[out[-1]])
    return out[::-1]
