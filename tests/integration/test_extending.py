"""What CONTRIBUTING.md says: each kind of thing is added by the files and lines named there.

A copy of the package gets a metric, a method, a head score, a page of the wiki, a task and an
architecture, and is then used from the command line.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import OPTConfig, OPTForCausalLM

from tests.support import REPOSITORY

METRIC = '''
def logit_of_correct(
    logprobs: Float[Tensor, "*state answer vocab"], correct: Bool[Tensor, "answer vocab"]
) -> Float[Tensor, "*state answer"]:
    """Highest log-probability of a correct token, in nats. Higher is better, at most 0."""
    return _max_where(logprobs, correct)


'''

METHOD = '''"""Edges by the layer of their source."""

from typing import ClassVar, Literal

from acdc_pipeline.specs.methods.scored import ScoredMethod


class DepthMethod(ScoredMethod):
    """Late sources first."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "the layer of its source"
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.depth:depth_scores"

    name: Literal["depth"]
'''

ALGORITHM = '''"""Edges by the layer of their source."""


def depth_scores(problem, method):
    """The layer of each edge's source; 0 for the input."""
    problem.advance(1.0)
    edges = problem.bench.weights.topology.edges
    return {edge: float(edge.src.layer or 0) + 1.0 for edge in edges}
'''

SCORE = """
  - name: layer_number
    version: 1
    title: Layer number
    family: weights
    claim: The layer that the head is in.
    formula: l
    source: a test
    sign: 'higher: later'
    low: 0.0
    high: null
"""

SCORE_VALUES = '''

def layer_number(weights: TransformerWeights) -> Float64[np.ndarray, "layer head"]:
    """The layer of each head."""
    layers = np.arange(len(weights.blocks), dtype=np.float64)
    return np.repeat(layers[:, None], weights.topology.n_heads, 1)
'''

PAGE = '''"""How many models the site has."""

from acdc_pipeline.wiki.page import Data, SinglePage, frame


class CountPage(SinglePage):
    """The number of models."""

    template = "count.html"
    path = "count.html"

    def data(self, _: None) -> Data:
        return {**frame(0, "Count", ("Count", None)), "models": len(self.site.models)}
'''

TEMPLATE = """{% extends "_base.html" %}
{% block main %}<p id="count">{{ models }} models{% endblock %}
"""


FAMILY = '''"""OPT, from scratch."""

from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class AnotherOpt(ModuleArchitecture):
    """Learned positions, ReLU; the projections of the MLP are parts of the layer."""

    class_name = "OPTForCausalLM"
    title = "OPT once more"
    layers = "model.decoder.layers"
    embedding = "model.decoder.embed_tokens"
    positions = "model.decoder.embed_positions"
    position_offset = 2
    rotary = ""
    final_norm = "model.decoder.final_layer_norm"
    attn_norm = "self_attn_layer_norm"
    mlp_norm = "final_layer_norm"
    o = "out_proj"
    mlp = "."
    up = "fc1"
    down = "fc2"


ARCHITECTURES = (AnotherOpt,)
'''


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name}: {text.count(old)} times {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the extended package and its task."""
    root = tmp_path_factory.mktemp("extended")
    package = root / "acdc_pipeline"
    shutil.copytree(
        REPOSITORY / "acdc_pipeline", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder in ("tasks", "workers", "deploy/sweeps"):
        shutil.copytree(REPOSITORY / folder, root / folder)

    metrics = package / "metrics.py"
    replace_once(metrics, "\ndef _mean_where(", METRIC.lstrip("\n") + "def _mean_where(")
    replace_once(
        metrics,
        '    "nll": Metric(',
        '    "correct": Metric(\n'
        '        lambda i: logit_of_correct(i.circuit, i.correct), "better", False\n    ),\n'
        '    "nll": Metric(',
    )
    replace_once(
        package / "specs" / "names.py", '"forced_choice"\n]', '"forced_choice", "correct"\n]'
    )

    methods = package / "specs" / "methods"
    (methods / "depth.py").write_text(METHOD)
    (package / "algorithms" / "depth.py").write_text(ALGORITHM)
    registry = methods / "registry.py"
    replace_once(registry, "import (\n    eap_exact,", "import (\n    depth,\n    eap_exact,")
    replace_once(
        registry, "    | scored.EapMethod\n", "    | scored.EapMethod\n    | depth.DepthMethod\n"
    )

    with (package / "specs" / "head_scores" / "scores.yaml").open("a", encoding="utf-8") as file:
        file.write(SCORE)
    family = package / "heads" / "copying.py"
    replace_once(
        family,
        '        HeadValues("ov_copying", ov_copying(weights, memory)),\n',
        '        HeadValues("ov_copying", ov_copying(weights, memory)),\n'
        '        HeadValues("layer_number", layer_number(weights)),\n',
    )
    with family.open("a", encoding="utf-8") as file:
        file.write(SCORE_VALUES)

    pages = package / "wiki" / "pages"
    (pages / "count.py").write_text(PAGE)
    (package / "wiki" / "templates" / "count.html").write_text(TEMPLATE)
    replace_once(
        pages / "__init__.py",
        "    HomePage,\n    ModelListPage,\n    ModelPage,\n",
        "    CountPage,\n    HomePage,\n    ModelListPage,\n    ModelPage,\n",
    )
    replace_once(
        pages / "__init__.py",
        "from acdc_pipeline.wiki.pages.head import HeadPage\n",
        "from acdc_pipeline.wiki.pages.count import CountPage\n"
        "from acdc_pipeline.wiki.pages.head import HeadPage\n",
    )

    architectures = package / "models" / "architectures"
    (architectures / "opt.py").unlink()
    (architectures / "another.py").write_text(FAMILY)
    init = architectures / "__init__.py"
    replace_once(init, "    opt,\n    phi,\n", "    another,\n    phi,\n")
    replace_once(init, "    opt,\n    dense,\n", "    another,\n    dense,\n")

    shutil.copytree(REPOSITORY / "tasks" / "induction", root / "tasks" / "echo")
    replace_once(root / "tasks" / "echo" / "task.yaml", "name: induction", "name: echo")
    return root


COMMANDS = (
    (
        *("discover", "echo", "zoo:attn-2l", "--method", "depth", "--metric", "correct"),
        *("--edges", "20", "--prompts", "4", "--json"),
    ),
    ("heads", "zoo:attn-2l", "--json"),
    ("wiki", "build", "--out", "wiki"),
    ("models", "list"),
    ("models", "check", "dir:model"),
)
"""All in one process, most of whose time goes into imports."""

PROGRAM = r"""
import json, sys
from acdc_pipeline.cli.main import main
for command in json.loads(sys.argv[1]):
    assert main(command) == 0, command
    print(end="\0", flush=True)
"""


@pytest.fixture(scope="module")
def shown(extended: Path) -> dict[str, str]:
    """What `acdc` of the extended package prints for each of `COMMANDS`, by its first words."""
    config = OPTConfig(
        hidden_size=16,
        word_embed_proj_dim=16,
        ffn_dim=24,
        vocab_size=23,
        num_attention_heads=2,
        num_hidden_layers=2,
    )
    OPTForCausalLM(config).save_pretrained(extended / "model")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(COMMANDS)],
        cwd=extended,
        env=os.environ | {"PYTHONPATH": str(extended), "ACDC_STORE": str(extended / "store")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    texts = done.stdout.removesuffix("\0").split("\0")
    return {" ".join(words[:2]): text for words, text in zip(COMMANDS, texts, strict=True)}


@pytest.mark.slow
def test_extended_package_finds_a_circuit_by_its_method_metric_and_task(shown: dict[str, str]):
    found = json.loads(shown["discover echo"])
    assert found["method"]["name"] == "depth"
    assert found["method"]["metric"] == "correct"
    assert found["metrics"]["correct"] < 0


@pytest.mark.slow
def test_extended_package_profiles_by_its_score_and_builds_its_page(
    extended: Path, shown: dict[str, str]
):
    assert "layer_number" in shown["heads zoo:attn-2l"]
    assert ">1 models" in (extended / "wiki" / "count.html").read_text()
    assert "Layer number" in (extended / "wiki" / "s" / "layer-number.html").read_text()


@pytest.mark.slow
def test_extended_package_loads_a_model_of_its_architecture(shown: dict[str, str]):
    assert "OPT once more" in shown["models list"]
    assert shown["models check"]
