"""`acdc tasks`: behaviours, as data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.commands import tasks_files as prompt_files
from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.options.numbers import MOST_PROMPTS, MOST_SEED, whole
from acdc_pipeline.cli.terminal.groups import App
from acdc_pipeline.cli.terminal.output import note, print_facts, print_json, say, stdout_kept_clean
from acdc_pipeline.cli.terminal.progress import waiting
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.words import counted, percent, relative
from acdc_pipeline.cli.views.word_lists import answer_form_text, word_list_text, word_lists_of
from acdc_pipeline.errors import PromptError, SpecError, UnsupportedModel

if TYPE_CHECKING:
    from acdc_pipeline.prompts import PromptSet
    from acdc_pipeline.specs import TaskSpec

app = App(help="Behaviours, as data.")

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        autocompletion=completion.models,
        help="zoo:NAME, hf:ORG/NAME[@REVISION], dir:PATH or gguf:FILE.",
    ),
]
Prompts = Annotated[
    int,
    typer.Option(
        parser=whole("--prompts", 1, MOST_PROMPTS), metavar="N", help="How many prompt pairs."
    ),
]
Seed = Annotated[
    int,
    typer.Option(parser=whole("--seed", 0, MOST_SEED), metavar="N", help="Seed of the prompts."),
]


COLUMNS = (
    Column("task"),
    Column("title", "prose"),
    Column("generator", rank=2),
    Column("reference circuit", rank=1),
)


@app.command("list")
def list_tasks(json: shared.Json = False) -> None:
    """List the tasks of the project and those that come with the package.

    Those that cannot be read are named on stderr and left out.

    Example: acdc tasks list
    """
    from acdc_pipeline.specs import find_reference, find_task
    from acdc_pipeline.specs import list_tasks as found_tasks

    rows: list[dict[str, Any]] = []
    unusable: dict[str, SpecError] = {}
    for name, path in found_tasks().items():
        try:
            task = find_task(path)
            rows.append(
                {
                    "name": name,
                    "title": task.title,
                    "generator": task.generator.kind,
                    "source": task.source.paper,
                    "reference_circuit": find_reference(path.parent) is not None,
                    "path": str(path.parent),
                }
            )
        except SpecError as error:
            unusable[name] = error
    for error in unusable.values():
        note(f"acdc: warning: {error}".replace("\n", "\n      "))
    if json:
        unread = [{"name": n, "problem": e.problem, **e.parts()} for n, e in unusable.items()]
        print_json({"tasks": rows, "unusable": unread})
        return
    shown = [
        {
            "task": str(row["name"]),
            "title": str(row["title"]),
            "generator": str(row["generator"]),
            "reference circuit": _yes(row["reference_circuit"]),
        }
        for row in rows
    ]
    print_table(COLUMNS, shown)


@app.command("show")
def show_task(
    task: shared.TaskName,
    model: ModelOption = None,
    prompts: Prompts = 3,
    seed: Seed = 0,
    json: shared.Json = False,
) -> None:
    """Show a task; with a model, some of its prompts as that model's tokenizer sees them.

    Example: acdc tasks show ioi --model zoo:gpt2-4l-s0
    """
    from acdc_pipeline.specs import find_reference, find_task

    spec = find_task(task)
    reference = find_reference(task)
    made, form = (None, None) if model is None else _prompts_of(spec, model, prompts, seed)
    lists = [] if model is None else word_lists_of(spec, model)
    if json:
        print_json(
            {
                "task": spec.plain(),
                "definition_hash": spec.definition_hash(),
                "reference_circuit": None if reference is None else reference.plain(),
                "word_lists": lists,
                "answer_form": form,
                "prompts": None if made is None else made[1],
            }
        )
        return
    print_facts(_task_facts(spec, reference is not None))
    for row in lists:
        say(f"  {word_list_text(row)}")
    if form:
        say(f"  {answer_form_text(form)}")
    for pair in made[1] if made else ():
        say("")
        print_facts({name: repr(value) for name, value in pair.items()})


@app.command("check")
def check_task(
    task: shared.TaskName,
    model: ModelOption = None,
    prompts: Prompts = 64,
    seed: Seed = 0,
    json: shared.Json = False,
) -> None:
    """Check a task's files; with a model, also its tokenizer, and how well it does the task.

    Example: acdc tasks check tasks/mine --model zoo:gpt2-4l-s0
    """
    from acdc_pipeline.specs import find_reference, find_task
    from acdc_pipeline.specs.catalogue import check_name, task_file

    spec = find_task(task)
    if not task.endswith(".jsonl"):
        check_name(spec, task_file(task))
    reference = find_reference(task)
    report: dict[str, Any] = {
        "task": spec.name,
        "generator": spec.generator.kind,
        "reference_circuit": reference is not None,
    }
    if model is not None:
        (made, _), form = _prompts_of(spec, model, prompts, seed)
        report |= {
            "model": model,
            "prompts": len(made),
            "shortest": int(made.lengths.min()),
            "longest": int(made.lengths.max()),
            "word_lists": word_lists_of(spec, model),
            "answer_form": form,
            "equal_sides": len(made.rows_with_equal_sides),
            **_how_well(made, model),
        }
    if json:
        print_json({**report, "ok": True})
        return
    say(f"{spec.name}: the files are right" + ("" if model else " (name a --model to try prompts)"))
    if model is not None:
        say(
            f"{model}: {counted(report['prompts'], 'prompt')} of {_lengths(report)}, "
            "sides equally long, every answer one token"
        )
        for row in report["word_lists"]:
            say(f"  {word_list_text(row)}")
        if form := report["answer_form"]:
            say(f"  {answer_form_text(form)}")
        say(
            f"  the model's first token is right in {percent(report['model_accuracy'])}, its "
            f"forced choice in {percent(report['model_forced_choice'])} of them"
        )
        if report["not_measured"]:
            note(f"note: the model was not run: {report['not_measured']}")
        if equal := report["equal_sides"]:
            note(
                f"note: clean and corrupted side are equal in {equal} of {report['prompts']} pairs"
            )


@app.command("new")
def new_task(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, - and _.")
    ],
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where tasks are kept.")] = Path(
        "tasks"
    ),
) -> None:
    """Start a task: a folder with a task.yaml that works, to be changed.

    Example: acdc tasks new my_task
    """
    from acdc_pipeline.cli.commands.task_template import write_task_folder

    written = relative(str(write_task_folder(folder, name)))
    say(f"wrote {written}")
    say(f"\nChange task.yaml, then:\n  acdc tasks check {written} --model zoo:gpt2-4l-s0")


app.command("import")(prompt_files.import_prompts)
app.command("export")(prompt_files.export_prompts)


def _lengths(report: dict[str, Any]) -> str:
    shortest, longest = report["shortest"], report["longest"]
    several = counted(longest, "token")
    return several if shortest == longest else f"{shortest} to {several}"


def _prompts_of(
    spec: TaskSpec, model: str, count: int, seed: int
) -> tuple[tuple[PromptSet, list[dict[str, Any]]], str | None]:
    """The prompts, with each as JSON data; and the form of their answers, where a task has several.

    Raises:
        PromptError: as `make_prompts` does.
    """
    with stdout_kept_clean(), waiting(f"making prompts for {model}"):
        from acdc_pipeline.models import locate
        from acdc_pipeline.models.bridge import load_tokenizer
        from acdc_pipeline.prompts import answer_form, make_prompts
        from acdc_pipeline.specs import ModelRef

        tokenizer = load_tokenizer(locate(ModelRef.parse(model)).directory)
        if tokenizer is None:
            raise PromptError("has no tokenizer to make prompts with", where=model)
        made = make_prompts(spec, tokenizer, n=count, seed=seed)
        form = answer_form(spec, tokenizer)
    answers: dict[int, int] = {int(row): i for i, row in reversed(list(enumerate(made.answer_row)))}
    shown = [
        {
            "clean": made.clean_text[row],
            "corrupted": made.corrupted_text[row],
            "correct": [tokenizer.decode([t]) for t in made.correct[answers[row]]],
            "incorrect": [tokenizer.decode([t]) for t in made.incorrect[answers[row]]],
            "tokens": int(made.lengths[row]),
        }
        for row in range(len(made))
    ]
    return (made, shown), form


def _how_well(prompts: PromptSet, model: str) -> dict[str, Any]:
    """Both accuracies of the whole model; None, with the reason, where the engine cannot run it."""
    with stdout_kept_clean(), waiting(f"running {model}"):
        from acdc_pipeline.execution.memory import default_budget
        from acdc_pipeline.heads.task_profile import model_metrics
        from acdc_pipeline.models import load_model
        from acdc_pipeline.specs.names import COUNTED

        try:
            loaded = load_model(model)
        except UnsupportedModel as error:
            unknown = {f"model_{name}": None for name in COUNTED}
            return {**unknown, "not_measured": error.problem}
        device = loaded.weights.device
        found = model_metrics(loaded.weights, prompts.to(device), COUNTED, default_budget(device))
    known = {f"model_{name}": found.get(f"model_{name}") for name in COUNTED}
    return {**known, "not_measured": None}


def _task_facts(spec: TaskSpec, published: bool) -> dict[str, str]:
    source = spec.source
    link = f"arXiv {source.arxiv}" if source.arxiv else source.url
    lines = {
        "task": spec.name,
        "title": spec.title,
        "behaviour": spec.behaviour,
        "source": f"{source.paper} ({link})" if link else source.paper,
        "generator": spec.generator.kind,
    }
    plain = spec.generator.plain()
    if templates := plain.get("templates"):
        lines["templates"] = f"{len(templates)}, as in {templates[0]!r}"
    if words := plain.get("words"):
        lines["words"] = ", ".join(f"{len(entries)} {name}" for name, entries in words.items())
    if rows := plain.get("rows"):
        lines["rows"] = f"{len(rows)}, of {', '.join(rows[0])}"
    for field in ("roles", "corrupted"):
        if isinstance(plain.get(field), dict):
            lines[field] = ", ".join(f"{k}: {_role(v)}" for k, v in plain[field].items())
    if spec.answers is not None:
        lines["answers"] = (
            f"{' or '.join(spec.answers.correct)}, not {' or '.join(spec.answers.incorrect)}"
        )
    lines["metrics"] = f"{spec.metrics.discovery}; reported: {', '.join(spec.metrics.report)}"
    lines["reference circuit"] = _yes(published)
    return lines


def _role(value: Any) -> str:
    return " or ".join(value) if isinstance(value, list) else str(value)


def _yes(value: object) -> str:
    return "yes" if value else "no"
