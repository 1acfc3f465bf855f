"""The folder that `acdc tasks new` writes: a task that works, to be changed."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs.project import bundled

TASK = """\
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

README = """\
# {name}

What a model has to do here, and why it is interesting.

```sh
acdc tasks check {name} --model zoo:gpt2-4l-s0
acdc discover {name} zoo:gpt2-4l-s0
```

`circuit.yaml` beside this file may hold a published circuit to compare with.
"""


def write_task_folder(folder: Path, name: str) -> Path:
    """Writes the folder `name` in `folder`, whole or not at all, and gives its path.

    Raises:
        InvalidInput: the name is not one a task can have, or is that of a task which comes with
            the package; the folder exists, or it cannot be written.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise InvalidInput(
            f"'{name}' is not a task's name",
            where="tasks new",
            allowed="lower-case letters, digits, - and _, a letter or digit first",
        )
    target = folder / name
    if target.exists():
        raise InvalidInput("exists already", where=str(target), fix="choose another name")
    if (bundled() / "tasks" / name).exists():
        raise InvalidInput(
            f"'{name}' comes with acdc, and a task of that name would hide it",
            where="tasks new",
            fix="choose another name",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as aside:
            built = Path(aside) / name
            built.mkdir()
            (built / "task.yaml").write_text(TASK.format(name=name), encoding="utf-8")
            (built / "README.md").write_text(README.format(name=name), encoding="utf-8")
            shutil.move(built, target)
    except OSError as error:
        raise InvalidInput(
            f"cannot be written: {error.strerror or error}", where=str(target)
        ) from error
    return target
