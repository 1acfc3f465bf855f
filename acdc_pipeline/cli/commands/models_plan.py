"""`acdc models plan`: what fits on some cards, from config.json alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options.parsers import integer, number, parse_integer
from acdc_pipeline.cli.terminal.output import print_facts, print_json, print_line, print_note
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import format_clock
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.text import NONE

if TYPE_CHECKING:
    from acdc_pipeline.workflows.card_plan import CardPlan

COLUMNS = (
    Column("cards", "number"),
    Column("workers", rank=3),
    Column("around", "number", rank=4),
    Column("layers", "number", rank=2),
    Column("passing", "number", rank=5),
    Column("sources", "number", rank=2),
    Column("receivers", "number", rank=4),
    Column("states", "number", rank=4),
    Column("logits", "number", rank=6),
    Column("in all", "number", rank=3),
    Column("a pass reads", "number", rank=4),
    Column("prompts", "number"),
    Column("ACDC", "number", rank=1),
    Column("EAP-IG", "number", rank=1),
)

_MOST_CARDS = 1_000_000


def plan_model(
    model: shared.ModelName,
    cards: Annotated[
        str,
        typer.Option(metavar="N[,N…]", help="Numbers of cards; one plan is made for each."),
    ] = "1,2,8",
    card_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory of one card, as in 80GB or 24GiB.")
    ] = "80GB",
    dtype: shared.Dtype = "float32",
    tokens: Annotated[
        int, typer.Option(**integer("--tokens", 1, 10_000_000), help="Tokens of a prompt.")
    ] = 15,
    rate: Annotated[
        float,
        typer.Option(
            **number("--rate"),
            help="Operations per second of one card in float32, which times are computed with.",
        ),
    ] = 2e13,
    json: shared.Json = False,
) -> None:
    """Show how many prompts of a search fit on some cards, from config.json alone.

    Weights are not read and need not be there: dir:PATH may be a folder with a config.json. The
    largest number of prompts is shown with the outputs of all sources on the card, and in the
    memory of the host; and the time of the counted operations: of ACDC that tests every edge (at
    2 % of a forward pass each), and of EAP-IG with 5 steps.

    \b
    Examples:
      acdc models plan hf:openai-community/gpt2 --cards 1
      acdc models plan dir:llama-3.1-70b --dtype bfloat16 --card-memory 80GB
    """
    counts = _read_counts(cards)
    if not 0 < rate < float("inf"):
        raise InvalidInput(f"'{rate:g}' is not above 0", field="--rate", fix="as in 2e13")
    with show_status(f"reading {model}"):
        from acdc_pipeline.workflows.card_plan import Conditions, plan_cards

        conditions = Conditions(dtype, shared.read_size(card_memory, "--card-memory"), tokens, rate)
        shape, sizes, plans = plan_cards(model, counts, conditions)
    if json:
        print_json(
            {
                "model": shape.ref,
                "parameters": sizes.total,
                "edges": shape.n_edges,
                **asdict(conditions),
                "plans": [asdict(plan) | {"used": plan.used} for plan in plans],
            }
        )
        return
    print_facts(
        {
            "model": f"{shape.ref}: {shape.layers}, {sizes.total / 1e9:,.2f} billion weights in "
            f"{dtype}, {shape.n_edges:,} edges",
            "prompts": f"of {tokens} tokens, one answer each",
            "cards": f"of {card_memory}, {rate:.2g} operations a second each",
        }
    )
    print_line("")
    print_table(COLUMNS, [_row(plan) for plan in plans])
    print_note(
        "\nWorkers are given with the cards of each. Sizes are GB of a worker's first card. Layers "
        "after a + are on its other cards, or in files where there are none, and pass through it; "
        "a pass reads these. Sources in brackets are in the memory of the host. Times are of the "
        "counted operations alone, for these prompts; reading is not among them."
    )


def _row(plan: CardPlan) -> dict[str, str]:
    elsewhere = f" + {_gb(plan.read)}" if plan.read else ""
    sources = f"({_gb(plan.sources)})" if plan.sources_in == "host" else _gb(plan.sources)
    row = {"cards": str(plan.cards), "prompts": str(plan.prompts)}
    if not plan.prompts:
        return {column.name: row.get(column.name, NONE) for column in COLUMNS}
    return row | {
        "workers": f"{plan.workers} of {plan.cards_each}",
        "around": _gb(plan.around),
        "layers": _gb(plan.layers) + elsewhere,
        "passing": _gb(plan.passing) if plan.passing else NONE,
        "sources": sources,
        "receivers": _gb(plan.receivers),
        "states": f"{_gb(plan.batch)} for {plan.states}",
        "logits": _gb(plan.logits),
        "in all": _gb(plan.used),
        "a pass reads": _gb(plan.read) if plan.read else NONE,
        "ACDC": format_clock(plan.acdc_seconds),
        "EAP-IG": format_clock(plan.eap_ig_seconds),
    }


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f}"


def _read_counts(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    return tuple(
        parse_integer(part.strip(), option="--cards", least=1, most=_MOST_CARDS) for part in parts
    )
