"""`acdc tasks`: list, show, check and start tasks."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.app import App
from acdc_pipeline.cli.commands import tasks_files, tasks_mib, tasks_spans
from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.terminal.output import print_facts, print_json, print_line, print_warnings
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import relative_path
from acdc_pipeline.errors import InvalidInput, NoSpans, SpecError, UnsupportedModel

if TYPE_CHECKING:
    from acdc_pipeline.prompts import PromptSet

app = App(help="Tasks: behaviours of models, as data.")

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="MODEL", autocompletion=completion.models, help=shared.MODEL_HELP
    ),
]

COLUMNS = (
    Column("task"),
    Column("title", "prose"),
    Column("generator", rank=2),
    Column("reference circuit", rank=1),
)

TASK_TEMPLATE = """\
name: {name}
title: One line for headings
behaviour: '"Then, Mary and John went to the store. John gave a drink to" -> " Mary"'
source: {{paper: "who studied this first"}}

generator:
  kind: template
  bos: true                     # whether a beginning-of-sequence token comes first
  templates:                    # sentences that stop right before the answer
    - "Then, {{A}} and {{B}} went to the {{place}}. {{S}} gave a {{object}} to"
    - "When {{A}} and {{B}} came to the {{place}}, {{S}} gave the {{object}} to"
  slots: {{A: names, B: names, place: places, object: objects}}
  words:                        # lists, here or in a .txt beside this file with one word a line
    names: [Mary, John, Tom, James, Dan, Martin, Amy, Scott]
    places: [store, park, school, house]
    objects: [drink, ring, book, ball]
  roles: {{S: [A, B], IO: other}} # S is A in one half of the prompts and B in the other
  corrupted: {{A: fresh, B: fresh, S: fresh}}   # fresh, keep or swap

answers: {{correct: "{{IO}}", incorrect: "{{S}}"}}
metrics: {{discovery: kl, report: [logit_diff, accuracy]}}
"""

README_TEMPLATE = """\
# {name}

What a model has to do here, and why it is interesting.

```sh
acdc tasks check {name} --model zoo:gpt2-4l-s0
acdc discover {name} zoo:gpt2-4l-s0
```

`circuit.yaml` beside this file may hold a published circuit to compare with.
"""


@app.command("list")
def list_tasks(json: shared.Json = False) -> None:
    """List the tasks of the project and those that come with the package.

    Tasks that cannot be read are named on stderr and left out.

    Example: acdc tasks list
    """
    from acdc_pipeline.specs import find_reference, find_task
    from acdc_pipeline.specs import list_tasks as find_tasks

    tasks: list[dict[str, Any]] = []
    unusable: dict[str, SpecError] = {}
    for name, path in find_tasks().items():
        try:
            task = find_task(path)
            tasks.append(
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
    print_warnings(unusable.values())
    if json:
        unread = [{"name": n, "problem": e.problem, **e.parts()} for n, e in unusable.items()]
        print_json({"tasks": tasks, "unusable": unread})
        return
    rows = [
        {
            "task": task["name"],
            "title": task["title"],
            "generator": task["generator"],
            "reference circuit": "yes" if task["reference_circuit"] else "no",
        }
        for task in tasks
    ]
    if rows:
        print_table(COLUMNS, rows)


@app.command("show")
def show_task(
    task: shared.TaskName,
    model: ModelOption = None,
    prompts: shared.PromptCount = 3,
    seed: shared.PromptSeed = 0,
    json: shared.Json = False,
) -> None:
    """Show a task; with a model, also some prompts as that model's tokenizer sees them.

    Example: acdc tasks show ioi --model zoo:gpt2-4l-s0
    """
    from acdc_pipeline.cli.commands.task_prompts import check_word_lists, make_task_prompts
    from acdc_pipeline.cli.views.span_text import print_marked_prompt, print_span_names
    from acdc_pipeline.cli.views.task import print_tokenization, task_facts
    from acdc_pipeline.specs import find_reference, find_task

    spec = find_task(task)
    reference = find_reference(task)
    made = None
    if model is not None:
        try:
            made = make_task_prompts(spec, model, prompts, seed, "spans")
        except NoSpans:
            made = make_task_prompts(spec, model, prompts, seed)
    word_lists = [] if model is None else check_word_lists(spec, model)
    answer_form = None if made is None else made.answer_form
    spans = None if made is None or made.prompts.spans is None else made.prompts.spans.names
    if json:
        print_json(
            {
                "task": spec.plain(),
                "definition_hash": spec.definition_hash(),
                "reference_circuit": None if reference is None else reference.plain(),
                "word_lists": word_lists,
                "answer_form": answer_form,
                "spans": spans,
                "prompts": None if made is None else made.pairs,
            }
        )
        return
    print_facts(task_facts(spec, reference is not None))
    print_tokenization(word_lists, answer_form)
    if spans is not None:
        print_span_names(spans)
    for number, pair in enumerate(() if made is None else made.pairs):
        print_line("")
        print_facts({name: repr(value) for name, value in pair.items() if name != "spans"})
        if made is not None and spans is not None:
            print_marked_prompt(*made.marked(number), spans)


@app.command("check")
def check_task(
    task: shared.TaskName,
    model: ModelOption = None,
    prompts: shared.PromptCount = 64,
    seed: shared.PromptSeed = 0,
    json: shared.Json = False,
) -> None:
    """Check a task's files; with a model, also its tokenizer, and how well it does the task.

    Example: acdc tasks check tasks/mine --model zoo:gpt2-4l-s0
    """
    from acdc_pipeline.cli.commands.task_prompts import check_word_lists, make_task_prompts
    from acdc_pipeline.cli.views.task import print_check
    from acdc_pipeline.specs import find_reference, find_task
    from acdc_pipeline.specs.catalogue import check_name, task_file

    spec = find_task(task)
    if not task.endswith(".jsonl"):
        check_name(spec, task_file(task))
    report: dict[str, Any] = {
        "task": spec.name,
        "generator": spec.generator.kind,
        "reference_circuit": find_reference(task) is not None,
    }
    if model is not None:
        made = make_task_prompts(spec, model, prompts, seed)
        report |= {
            "model": model,
            "prompts": made.prompts.n_prompts,
            "shortest": min(pair["tokens"] for pair in made.pairs),
            "longest": max(pair["tokens"] for pair in made.pairs),
            "word_lists": check_word_lists(spec, model),
            "answer_form": made.answer_form,
            "equal_sides": len(made.prompts.prompts_with_equal_sides),
            **_forms(made.prompts),
            **_model_accuracies(made.prompts, model),
        }
    if json:
        print_json({**report, "ok": True})
    else:
        print_check(report)


@app.command("new")
def new_task(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, - and _.")
    ],
    folder: Annotated[Path, typer.Option(metavar="DIR", help="The folder of all tasks.")] = Path(
        "tasks"
    ),
) -> None:
    """Start a task: a folder with a working task.yaml to edit.

    Example: acdc tasks new my_task
    """
    written = relative_path(str(write_task_folder(folder, name)))
    print_line(f"wrote {written}")
    print_line(f"\nEdit task.yaml, then:\n  acdc tasks check {written} --model zoo:gpt2-4l-s0")


app.command("import")(tasks_files.import_prompts)
app.command("export")(tasks_files.export_prompts)
app.command("mib")(tasks_mib.mib_prompts)
app.command("spans")(tasks_spans.propose_spans)


def write_task_folder(folder: Path, name: str) -> Path:
    """Write the folder `name` in `folder`, whole or not at all, and return its path."""
    from acdc_pipeline.specs.project import bundled_folder

    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise InvalidInput(
            f"'{name}' is not a task's name",
            where="tasks new",
            allowed="lower-case letters, digits, - and _, a letter or digit first",
        )
    target = folder / name
    if target.exists():
        raise InvalidInput("exists already", where=str(target), fix="choose another name")
    if (bundled_folder() / "tasks" / name).exists():
        raise InvalidInput(
            f"'{name}' comes with acdc, and a task of that name would hide it",
            where="tasks new",
            fix="choose another name",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as temporary:
            draft = Path(temporary) / name
            draft.mkdir()
            (draft / "task.yaml").write_text(TASK_TEMPLATE.format(name=name), encoding="utf-8")
            (draft / "README.md").write_text(README_TEMPLATE.format(name=name), encoding="utf-8")
            shutil.move(draft, target)
    except OSError as error:
        raise InvalidInput(
            f"cannot be written: {error.strerror or error}", where=str(target)
        ) from error
    return target


def _forms(made: PromptSet) -> dict[str, str]:
    """Return what is not usual about sides and answers, in words."""
    forms = {}
    if made.counterpart is not None:
        forms["sides"] = "sides of different length aligned"
    if made.whole is not None:
        forms["answers"] = "answers of several tokens counted whole"
    return forms


def _model_accuracies(prompts: PromptSet, model: str) -> dict[str, Any]:
    """Measure both accuracies of the whole model; None, with the reason, if it is unsupported."""
    if prompts.whole is not None:
        unmeasured = {"model_accuracy": None, "model_forced_choice": None}
        return {**unmeasured, "not_measured": "answers have several tokens; see 'acdc discover'"}
    with show_status(f"running {model}"):
        from acdc_pipeline.execution.environment import default_budget
        from acdc_pipeline.heads.task_profile import model_metrics
        from acdc_pipeline.models import load_model
        from acdc_pipeline.specs.names import COUNTING_METRICS

        try:
            loaded = load_model(model)
        except UnsupportedModel as error:
            unknown = {f"model_{name}": None for name in COUNTING_METRICS}
            return {**unknown, "not_measured": error.problem}
        device = loaded.weights.device
        found = model_metrics(
            loaded.weights, prompts.to(device), COUNTING_METRICS, default_budget(device)
        )
    known = {f"model_{name}": found.get(f"model_{name}") for name in COUNTING_METRICS}
    return {**known, "not_measured": None}
