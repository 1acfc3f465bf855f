"""`acdc models`: list, show, check, plan for and convert models."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import Annotated, Any

import typer

from acdc_pipeline.cli.app import App
from acdc_pipeline.cli.commands import models_plan
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.terminal import output
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import UNBROKEN
from acdc_pipeline.cli.views.conversion import conversion_document, print_conversion
from acdc_pipeline.cli.views.coverage import coverage_document, print_coverage
from acdc_pipeline.errors import ParityError
from acdc_pipeline.text import pluralize

app = App(help="Models in which circuits can be found.")

ACCURACIES = "held_out_accuracy"
"""Field of a model's card: accuracies by task, on words held out of training."""

COLUMNS = (
    Column("model"),
    Column("architecture", "name", rank=3),
    Column("layers", "number", rank=2),
    Column("heads", "number", rank=2),
    Column("width", "number", rank=4),
    Column("vocabulary", "number", rank=5),
    Column("edges", "number"),
    Column("held-out accuracy", "prose", rank=1),
)

COMPILED = (
    Column("model"),
    Column("task", rank=1),
    Column("layers", "number", rank=3),
    Column("heads", "number", rank=3),
    Column("edges", "number"),
    Column("what its circuit shows", "prose", rank=2),
)


@app.command("list")
def list_models(
    coverage: Annotated[
        bool,
        typer.Option(
            "--coverage",
            help="Show instead which classes of the installed transformers and TransformerLens "
            "are reproduced, and why others are refused.",
        ),
    ] = False,
    json: shared.Json = False,
) -> None:
    """List the bundled models, and the architectures that are supported.

    Example: acdc models list
    """
    if coverage:
        _list_coverage(json)
        return
    with show_status("reading the models"):
        from acdc_pipeline.models import SUPPORTED, describe_model, list_zoo

        found = [(describe_model(f"zoo:{name}"), _card(name)) for name in list_zoo()]
    if json:
        zoo = [d.to_json() | {"held_out_accuracy": card.get(ACCURACIES, {})} for d, card in found]
        output.print_json({"zoo": zoo, "architectures": dict(SUPPORTED)})
        return
    rows = [
        {
            "model": d.ref,
            "architecture": d.family,
            "layers": str(d.n_layers),
            "heads": str(d.n_heads),
            "width": str(d.d_model),
            "vocabulary": str(d.vocab),
            "edges": str(d.n_edges),
            "held-out accuracy": _accuracies_text(card.get(ACCURACIES, {})),
            "task": ", ".join(card.get("tasks", [])),
            "what its circuit shows": card.get("shows", ""),
        }
        for d, card in found
    ]
    trained, compiled = (
        [row for row in rows if bool(row["what its circuit shows"]) is known]
        for known in (False, True)
    )
    print_table(COLUMNS, trained)
    output.print_line("\nCompiled by hand, with known circuits:\n")
    print_table(COMPILED, compiled)
    families = ", ".join(
        family.replace(" ", UNBROKEN) for family in dict.fromkeys(SUPPORTED.values())
    )
    output.print_note(
        f"\nhf:, dir: and gguf: models of these architectures work too: {families}\n"
        "'acdc models list --coverage' names their classes, and why others are refused.",
        width=output.PROSE_WIDTH,
    )


@app.command("show")
def show_model(model: shared.ModelName, json: shared.Json = False) -> None:
    """Show a model's shape, and whether its architecture is supported.

    Example: acdc models show zoo:gpt2-4l-s0
    """
    with show_status(f"reading {model}"):
        from acdc_pipeline.models import describe_model

        found = describe_model(model)
        card = _card(model.removeprefix("zoo:")) if model.startswith("zoo:") else {}
        accuracies = card.get(ACCURACIES, {})
    if json:
        supported = found.refused is None
        output.print_json(
            found.to_json() | {"supported": supported, "held_out_accuracy": accuracies}
        )
        return
    kv = (
        ""
        if found.n_kv_heads == found.n_heads
        else f", {pluralize(found.n_kv_heads, 'key/value head')}"
    )
    mixture = (
        ""
        if found.experts is None
        else f", {found.experts[0]} experts, {found.experts[1]} per token"
    )
    output.print_facts(
        {
            "model": found.ref,
            "revision": found.revision,
            "architecture": f"{found.family} ({found.architecture})",
            "size": f"{found.layers}{kv}{mixture}, width {found.d_model}, vocabulary {found.vocab}",
            "edges": str(found.n_edges),
            **({"held-out accuracy": _accuracies_text(accuracies)} if accuracies else {}),
            **({"circuit": f"known by construction: {card['shows']}"} if "shows" in card else {}),
            "supported": "yes" if found.refused is None else f"no: {found.refused}",
        }
    )


@app.command("check")
def check_model(
    model: shared.ModelName,
    dtype: shared.Dtype = "float32",
    device: shared.Device = "auto",
    seed: shared.Seed = 0,
    json: shared.Json = False,
) -> None:
    """Compare the engine's logits with the model's own, on random tokens.

    Example: acdc models check hf:openai-community/gpt2
    """
    with show_status(f"checking {model}"):
        from acdc_pipeline.workflows.model_check import check_model as run_check

        result = run_check(model, dtype=dtype, device=device, seed=seed)
    if json:
        output.print_json(
            {
                **result.description.to_json(),
                "features": list(result.features),
                "coupled": result.coupled,
                "parity_error": result.parity_error,
                "tolerance": result.tolerance,
                "passed": result.passed,
            }
        )
    else:
        d = result.description
        output.print_facts(
            {
                "model": d.ref,
                "architecture": f"{d.family} ({d.architecture})",
                "reproduced": ", ".join(result.features),
                "search": "recomputes every later layer, since heads of a layer affect one another"
                if result.coupled
                else "along present edges",
                "parity error": f"{result.parity_error:.2g} relative on "
                f"{result.tokens} tokens (at most {result.tolerance:g} passes)",
            }
        )
    if not result.passed:
        raise ParityError(
            f"the engine is {result.parity_error:.2g} away from the model's own logits",
            where=model,
            allowed=f"at most {result.tolerance:g}",
            fix="try --dtype float64; if that fails too, report the model",
        )


app.command("plan")(models_plan.plan_model)


@app.command("convert")
def convert_model(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A checkpoint (.pt, .pth, .ckpt, .npz, .safetensors), or a Hugging Face folder "
            "with pytorch_model.bin.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder: the model dir:OUT.")],
    n_heads: Annotated[
        int | None, typer.Option(help="Heads of a layer, where they lie side by side in tensors.")
    ] = None,
    d_head: Annotated[
        int | None, typer.Option(help="Width of a head, instead of --n-heads.")
    ] = None,
    act_fn: Annotated[
        str | None,
        typer.Option(
            metavar="gelu|gelu_new|relu|silu",
            help="Activation of the MLPs; gelu_new is the tanh approximation of gelu.",
        ),
    ] = None,
    normalization: Annotated[
        str | None,
        typer.Option(
            metavar="LN|LNPre|RMS|RMSPre|none", help="Kind of norms, where they have no weights."
        ),
    ] = None,
    eps: Annotated[float | None, typer.Option(help="Epsilon of the norms. Default: 1e-5.")] = None,
    positions: Annotated[
        str | None,
        typer.Option(
            metavar="standard|rotary|none", help="Kind of positions, where no tensor tells it."
        ),
    ] = None,
    n_ctx: Annotated[
        int | None, typer.Option(help="Longest prompt in tokens, where no tensor tells it.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="More settings, under the names of TransformerLens's config; options go first.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Layout of the checkpoint, where names and shapes fit several."
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Place of the state dict in the file, such as state_dicts.400."
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Leave out a tensor without part in the logits; * and ? match."
        ),
    ] = None,
    json: shared.Json = False,
) -> None:
    """Convert a checkpoint of training code into a model that every command takes.

    Example: acdc models convert model.pth my-model --n-heads 4 --act-fn relu
    """
    given = {
        "n_heads": n_heads,
        "d_head": d_head,
        "act_fn": act_fn,
        "normalization_type": normalization,
        "eps": eps,
        "positional_embedding_type": positions,
        "n_ctx": n_ctx,
    }
    with show_status(f"converting {source.name}"):
        from acdc_pipeline.workflows.model_conversion import convert_model as run_conversion

        done = run_conversion(
            source,
            out,
            options={name: value for name, value in given.items() if value is not None},
            config=config,
            layout=layout,
            key=key,
            drop=drop or (),
        )
    if json:
        output.print_json(conversion_document(done))
    else:
        print_conversion(done)


def _list_coverage(json: bool) -> None:
    with show_status("reading the names of classes"):
        from acdc_pipeline.models.architectures.coverage import measure_coverage

        found = measure_coverage()
    if json:
        output.print_json(coverage_document(found))
    else:
        print_coverage(found)


def _card(name: str) -> dict[str, Any]:
    """Return the card of a zoo model; empty for other models."""
    from acdc_pipeline.models.zoo import zoo_path

    card = zoo_path(name) / "card.json"
    return loads(card.read_text(encoding="utf-8")) if card.is_file() else {}


def _accuracies_text(accuracies: dict[str, float]) -> str:
    return ", ".join(f"{task}{UNBROKEN}{value:.1%}" for task, value in accuracies.items())
