"""The spans of the tasks that come with the package, on prompts spelled out by hand."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.models import locate
from acdc_pipeline.models.bridge import load_tokenizer
from acdc_pipeline.prompts import PromptSet, make_prompts
from acdc_pipeline.specs import ModelRef, find_task, list_tasks
from tests.tokenizers import decoded


def zoo_tokenizer(model: str = "zoo:neox-4l-words") -> PreTrainedTokenizerBase:
    tokenizer = load_tokenizer(locate(ModelRef.parse(model)).directory)
    assert tokenizer is not None
    return tokenizer


def made(task: str, n: int, tokenizer: PreTrainedTokenizerBase) -> PromptSet:
    return make_prompts(find_task(task), tokenizer, n=n, seed=0, positions="spans")


def marked(prompts: PromptSet, row: int, tokenizer: PreTrainedTokenizerBase) -> str:
    """The prompt with each token that has a name in brackets: `Then , [S1 Susan]`."""
    assert prompts.spans is not None
    names = prompts.spans.names_of(row)
    tokens = [decoded(tokenizer, token).strip() for token in prompts.clean[row].tolist()]
    return " ".join(
        token if name == "rest" else f"[{name} {token}]"
        for name, token in zip(names, tokens, strict=False)
    )


@pytest.mark.parametrize(
    ("task", "row", "expected"),
    [
        (
            "ioi",
            0,
            "[bos <bos>] The long day that [IO Patricia] [IO+1 and] [S1 Edward] [S1+1 had] at the "
            "[place bar] [place+1 was] fun , and [S2 Edward] [S2+1 made] a [object radio] "
            "[object+1 and] gave it [END to]",
        ),
        (
            "ioi",
            1,
            "[bos <bos>] Then , [S1 Susan] [S1+1 and] [IO Alex] [IO+1 went] to the [place park] "
            "[place+1 .] [S2 Susan] [S2+1 gave] a [object ball] [END to]",
        ),
        (
            "docstring",
            0,
            "[bos <bos>]  def [function build] [function+1 (] self , config , field , "
            "[A_def error] [A_def+1 ,] [B_def point] [B_def+1 ,] [C_def force] [C_def+1 ,] date ) "
            ':   """ famine judge buses    :param [A_doc error] [A_doc+1 :] voyage queen   :param '
            "[B_doc point] [B_doc+1 :] table wolves   [END :param]",
        ),
        (
            "greater_than",
            1,
            "[bos <bos>] They say that the [noun reign] [noun+1 went] on from [XX1 15] [YY 83] "
            "[YY+1 to] [END 15]",
        ),
        (
            "induction",
            0,
            "[bos <bos>] [noise magazine] [noise /] [first config] [A1 Once] [B1 Moscow] "
            "[first Canada] [first 85] [first target] [second config] [END Once]",
        ),
        (
            "induction",
            1,
            "[bos <bos>] [noise =] [noise Amsterdam] [noise river] [noise Sarah] [noise Joseph] "
            "[noise sold] [noise sailors] [noise Lucy] [A1 knows] [B1 snack] [first 44] "
            "[first silver] [first folder] [END knows]",
        ),
        (
            "successor",
            0,
            "[bos <bos>] It goes on : [first seventeen] [first+1 ,] [second eighteen] "
            "[second+1 ,] [third nineteen] [END ,]",
        ),
        (
            "duplicate_token",
            1,
            "[bos <bos>] On the table there is a [C drum] [C+1 ,] a [IO lemon] [IO+1 ,] a [S1 pie] "
            "[S1+1 and] again a [S2 pie] [S2+1 ,] so what is there more than once is [END the]",
        ),
        ("country_capital", 0, "[bos <bos>] The capital city of [country Ukraine] [END is]"),
    ],
)
def test_tokens_of_a_bundled_task_have_the_names_of_its_literature(task, row, expected):
    tokenizer = zoo_tokenizer()
    assert marked(made(task, row + 1, tokenizer), row, tokenizer) == expected


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("lookback", "[bos <bos>] [M ba] [N se] [X bi] [A1 da] [O de] [END da]"),
        ("lookup", "[bos <bos>] [keys ji] [values ba] [keys pu] [values po] [key ga] [value ri]"
         " [query ga] [END =]"),
        ("majority", "[bos <bos>] [majority b] [minority a] [majority b] [majority b] [majority b]"
         " [majority b] [END a]"),
        ("negative", "[bos <bos>] [twice1 l] [twice2 l] [once e] [END =]"),
        ("or", "[bos <bos>] . + + [upper D] [lower d] + [END =]"),
        ("sort", "[bos <bos>] [next 6] [numbers 0] [numbers 3] [numbers 9] [equals =] [sorted 0]"
         " [END 3]"),
        ("sum", "[bos <bos>] [left 2] + [right 4] [END =]"),
    ],
)  # fmt: skip
def test_tokens_of_compiled_tasks_are_named_by_what_the_program_does_with_them(task, expected):
    tokenizer = zoo_tokenizer(f"zoo:compiled-{task}")
    assert marked(made(f"compiled_{task}", 1, tokenizer), 0, tokenizer) == expected


def test_every_bundled_task_divides_its_prompts_into_spans_with_the_answer_last():
    for name in list_tasks():
        model = name.replace("_", "-") if name.startswith("compiled_") else "neox-4l-words"
        prompts = made(name, 32, zoo_tokenizer(f"zoo:{model}"))
        spans = prompts.spans
        assert spans is not None
        assert spans.names[0] == "bos"
        assert spans.names[-1] == "END"
        assert len(spans.names) > 2
        for row, length in enumerate(prompts.lengths.tolist()):
            index = spans.index[row].tolist()
            assert all(0 <= number < len(spans.names) for number in index[:length])
            assert set(index[length:]) <= {-1}
            assert spans.names[index[int(prompts.answer_pos[row])]] == "END"


@pytest.mark.parametrize("task", ["ioi", "docstring", "greater_than", "induction", "successor"])
def test_graph_is_that_of_the_task_whichever_prompts_are_drawn(task: str):
    tokenizer = zoo_tokenizer()
    graphs = set()
    for n, seed in ((1, 1), (3, 2), (64, 0)):
        prompts = make_prompts(find_task(task), tokenizer, n=n, seed=seed, positions="spans")
        assert prompts.spans is not None
        graphs.add((prompts.spans.names, prompts.spans.answers, prompts.spans.sees))
    assert len(graphs) == 1
