"""The models of a store: each with its shape, head scores, roles and circuits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from acdc_pipeline.errors import StoreError
from acdc_pipeline.graph import Node, Topology
from acdc_pipeline.heads.near_misses import NearMiss
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs import TextMethod, sha256_of
from acdc_pipeline.specs.head_scores import ROLES, SCORES, metric_key
from acdc_pipeline.wiki.circuits import CircuitSeries, group_circuits
from acdc_pipeline.wiki.families.sketches import Sketches
from acdc_pipeline.wiki.natural import TextProfile
from acdc_pipeline.wiki.profile import Profile, merge_nulls
from acdc_pipeline.wiki.runs import Run, StoreContents, version_of
from acdc_pipeline.wiki.scores import Score, merge_scores
from acdc_pipeline.wiki.text import assign_slugs

HeadIndex = tuple[int, int]
"""Layer and head."""

Roles = Mapping[HeadIndex, tuple[HeadRole, ...]]

_SIZE = re.compile(r"[-_.]?(\d+(\.\d+)?[mbk]|s\d+|\d+l|small|medium|large|xl|base|deduped)$", re.I)

_FOLDERS = re.compile(r"(?<=^gguf:)/.*/|(?<=^dir:)/(?:.*/)?(?=[^/]+/[^/]+/*$)", re.DOTALL)
"""What is left out of an absolute path: all but a file's name, or but the last two folders."""

_RESERVED = ("all", "build", "changes", "index", "schema", "scores", "search", "versions")
"""Names of other files in the folder of the models' data."""


@dataclass(frozen=True)
class Model:
    """One model at one revision of its weights.

    Args:
        slug: name of its folder on the site.
        title: `ref`, without most folders of an absolute path, with the revision where several are
            on the site.
        shape: full graph; None for a model without circuits.
        near_misses: for heads without a role, the score closest to giving one.
        warnings: reasons why scores do not tell its heads apart.
        circuits: circuits by task; of several series of a task the longest is first.
        profile_ids: the runs that measured heads.
        text_id: the run on ordinary text that is shown: that with the most tokens.
        text: what it found; None without one, and in a model made from summaries.
        digest: digest of everything stored about its runs.
        measured: digest of its head scores and roles.
        ioi_like: the tasks it was profiled on that have the roles of IOI.
        heads_per_key: how many heads share a key and value head, by layer; empty where none do, or
            where that is unknown.
        sketches: of the weights of its heads; None where no profile has them.
    """

    ref: str
    revision: str
    slug: str
    title: str
    n_layers: int
    n_heads: int
    d_model: int | None
    shape: Topology | None
    scores: Mapping[str, Score]
    roles: Roles
    near_misses: Mapping[HeadIndex, NearMiss]
    warnings: tuple[str, ...]
    nulls: Mapping[str, float]
    circuits: Mapping[str, tuple[CircuitSeries, ...]]
    profiles: tuple[Profile, ...]
    run_ids: tuple[str, ...]
    profile_ids: tuple[str, ...]
    digest: str
    measured: str
    text_id: str | None = None
    text: TextProfile | None = None
    ioi_like: tuple[str, ...] = ()
    heads_per_key: tuple[int, ...] = ()
    sketches: Sketches | None = None

    @property
    def total_heads(self) -> int:
        """The number of cells of its grids: layers times heads of a layer."""
        return self.n_layers * self.n_heads

    @cached_property
    def layers_with_heads(self) -> tuple[int, ...]:
        """The layers that have attention heads; the cells of the others are empty."""
        every = tuple(range(self.n_layers))
        return every if self.shape is None else self.shape.layers_with_heads

    @property
    def empty_cells(self) -> int:
        """The number of cells of its grids in which there is no head."""
        return self.total_heads - len(self.places)

    @cached_property
    def places(self) -> tuple[HeadIndex, ...]:
        """Every head, layer by layer."""
        heads = range(self.n_heads)
        return tuple((layer, head) for layer in self.layers_with_heads for head in heads)

    @property
    def n_circuits(self) -> int:
        return sum(
            len(series.cuts) for all_series in self.circuits.values() for series in all_series
        )

    @property
    def data_version(self) -> str:
        """Twelve hex digits that stand for the set of its runs."""
        return version_of(self.run_ids)

    @property
    def family(self) -> str:
        """Its name without organisation, size and seed: `gpt2`, `pythia`."""
        name = self.ref.partition("@")[0].partition(":")[2].rpartition("/")[2] or self.ref
        while (shorter := _SIZE.sub("", name)) != name and shorter:
            name = shorter
        return name.lower()

    @cached_property
    def size(self) -> int | None:
        """Approximate number of weights in its layers.

        4 d² each for attention, 8 d² for MLPs, 6 d² for mixers (twice as wide as the stream, as in
        Mamba).
        """
        if self.d_model is None:
            return None
        parts = "am" * self.n_layers
        if self.shape is not None:
            parts = "".join(self.shape.parts(layer) for layer in range(self.n_layers))
        return sum({"a": 4, "m": 8, "r": 6}[part] for part in parts) * self.d_model**2

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The roles that any head has."""
        return frozenset(held.role for roles in self.roles.values() for held in roles)

    @property
    def n_roles(self) -> int:
        """Number of roles that any head has."""
        return len(self.kinds)

    def depth(self, layer: int) -> float:
        """Return the relative depth of a layer: 0 for the first, 1 for the last."""
        return layer / (self.n_layers - 1) if self.n_layers > 1 else 0.0

    def task_rank(self, place: HeadIndex, task: str) -> tuple[bool, bool, str]:
        """Return a sort key: tasks on which a head has a role, then those with it in a circuit."""
        inside = task in self.circuits and head_name(*place) in self.circuits[task][0].heads
        return task not in {role.on for role in self.roles.get(place, ())}, not inside, task

    def role_names(self, place: HeadIndex) -> str:
        """Return the names of a head's roles: `induction, previous token`."""
        names = (role.role.replace("_", " ") for role in self.roles.get(place, ()))
        return ", ".join(dict.fromkeys(names))


def head_name(layer: int, head: int) -> str:
    """`a5.h1`."""
    return f"a{layer}.h{head}"


def neighbour(model: Model, place: HeadIndex, by: int) -> str | None:
    """Return the name of the head `by` places further, layer by layer; None where there is none."""
    layers = model.layers_with_heads
    number = layers.index(place[0]) * model.n_heads + place[1] + by
    layer, head = divmod(number, model.n_heads)
    return head_name(layers[layer], head) if 0 <= layer < len(layers) else None


def head_index(node: Node) -> HeadIndex:
    """Return layer and head of a node."""
    return node.layer or 0, node.head or 0


def primary_metric(role: str, task: str | None) -> str:
    """Return the metric by which the heads with a role are ranked."""
    score = ROLES[role].required[0].score
    return metric_key(score, task if SCORES[score].per == "task" else None)


def group_models(contents: StoreContents) -> tuple[Model, ...]:
    """Group the runs of a store by model, in the order of names.

    Each revision of the weights is a model of its own. Models without circuits and scores are left
    out.
    """
    by_weights: dict[tuple[str, str], list[Run]] = {}
    for run in contents.runs:
        by_weights.setdefault((run.spec.model, run.spec.model_revision), []).append(run)
    refs = [ref for ref, _ in by_weights]
    names = _names(refs)
    titles = {
        (ref, revision): names[ref] if refs.count(ref) == 1 else f"{names[ref]} ({revision[:8]})"
        for ref, revision in by_weights
    }
    folders = assign_slugs(titles.values(), _RESERVED)
    found = [
        _model(ref, revision, titles[ref, revision], folders[titles[ref, revision]], runs)
        for (ref, revision), runs in by_weights.items()
    ]
    return tuple(sorted((m for m in found if m is not None), key=lambda m: (m.title, m.revision)))


def _names(refs: Iterable[str]) -> dict[str, str]:
    """Return a name for each reference: itself, where it has no absolute path.

    Folders are those of the machine that measured the model. Where two models would have the same
    name, both keep them.
    """
    short = {ref: _FOLDERS.sub("", ref) for ref in refs}
    shared = Counter(short.values())
    return {ref: name if shared[name] == 1 else ref for ref, name in short.items()}


def restore_profiles(model: Model, runs: Sequence[Run], text: Run | None = None) -> Model:
    """Return a model that was made from summaries, with its full scores and profiles.

    `runs` are the runs `model.profile_ids`, in full and in this order, and `text` the run
    `model.text_id`. Raises StoreError if `runs` changed since.
    """
    if _measured_digest(runs) != model.measured:
        raise StoreError(
            "its runs changed while the wiki was built", where=model.title, fix="build it again"
        )
    return replace(
        model,
        scores=merge_scores((run.scores for run in runs), model.n_layers, model.n_heads),
        profiles=tuple(run.profile for run in runs if run.profile is not None),
        text=None if text is None else text.text,
    )


def merge_roles(profiles: Iterable[Profile]) -> dict[HeadIndex, tuple[HeadRole, ...]]:
    """Merge the roles in the profiles of a model, by head."""
    found: dict[HeadIndex, dict[tuple[str, str | None], HeadRole]] = {}
    for profile in profiles:
        for role in profile.roles:
            found.setdefault(head_index(role.node), {}).setdefault((role.role, role.on), role)
    order = {name: number for number, name in enumerate(ROLES)}
    return {
        place: tuple(sorted(roles.values(), key=lambda r: (order[r.role], r.on or "")))
        if len(roles) > 1
        else tuple(roles.values())
        for place, roles in sorted(found.items())
    }


def merge_near_misses(profiles: Iterable[Profile], roles: Roles) -> dict[HeadIndex, NearMiss]:
    """Return the nearest miss of every head that has no role in any profile."""
    found: dict[HeadIndex, NearMiss] = {}
    for profile in profiles:
        for miss in profile.near_misses:
            place = head_index(miss.node)
            if place not in roles and (place not in found or miss.nearness > found[place].nearness):
                found[place] = miss
    return found


def _model(ref: str, revision: str, title: str, slug: str, runs: Sequence[Run]) -> Model | None:
    shapes = (run.shape for run in runs if run.shape is not None)
    # Where runs have spans, or experts as nodes, the model is described without them.
    shape = next((replace(one.collapsed, experts=(), shared=()) for one in shapes), None)
    sizes = _sizes(runs, shape)
    if sizes is None:
        return None
    profiles = tuple(run.profile for run in runs if run.profile is not None)
    roles = merge_roles(profiles)
    widths = (run.details.get("d_model") for run in runs)
    about_heads = [run for run in runs if run.scores or run.profile]
    return Model(
        ref=ref,
        revision=revision,
        slug=slug,
        title=title,
        n_layers=sizes[0],
        n_heads=sizes[1],
        d_model=next((int(width) for width in widths if isinstance(width, int)), None),
        shape=shape,
        scores=merge_scores((run.scores for run in runs), *sizes),
        roles=roles,
        near_misses=merge_near_misses(profiles, roles),
        warnings=tuple(dict.fromkeys(w for profile in profiles for w in profile.warnings)),
        nulls=merge_nulls(profiles),
        # without the scores and profiles, which are pickled once already
        circuits=group_circuits(replace(run, scores={}, profile=None) for run in runs),
        profiles=profiles,
        run_ids=tuple(sorted(run.run_id for run in runs)),
        profile_ids=tuple(run.run_id for run in about_heads),
        digest=sha256_of(sorted(run.content_digest for run in runs)),
        measured=_measured_digest(about_heads),
        text_id=_longest_text(runs),
        ioi_like=tuple(profile.task for profile in profiles if profile.ioi_like),
        heads_per_key=next((p.heads_per_key for p in profiles if p.heads_per_key), ()),
        sketches=next((p.sketches for p in profiles if p.sketches is not None), None),
    )


def _longest_text(runs: Iterable[Run]) -> str | None:
    """Return the run on ordinary text with the most tokens."""
    found = [
        (-run.spec.method.tokens, run.run_id)
        for run in runs
        if isinstance(run.spec.method, TextMethod)
    ]
    return min(found)[1] if found else None


def _measured_digest(runs: Iterable[Run]) -> str:
    return sha256_of(sorted(run.measured for run in runs))


def _sizes(runs: Iterable[Run], shape: Topology | None) -> tuple[int, int] | None:
    """Return the number of layers and heads: from the graph, else from the heads scored."""
    if shape is not None:
        return shape.n_layers, shape.n_heads
    grids = [score.values.shape for run in runs for score in run.scores.values()]
    if not grids:
        return None
    return max(layers for layers, _ in grids), max(heads for _, heads in grids)
