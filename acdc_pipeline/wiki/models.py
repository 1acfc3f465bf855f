"""The models of a store: each with its shape, its scores and its circuits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from acdc_pipeline.errors import StoreError
from acdc_pipeline.graph import Topology
from acdc_pipeline.heads.near_misses import NearMiss
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs import sha256_of
from acdc_pipeline.specs.head_scores import ROLES, SCORES, metric_key
from acdc_pipeline.wiki.circuits import Question, questions_of
from acdc_pipeline.wiki.profile import Profile, merged_nulls
from acdc_pipeline.wiki.runs import Gathered, Run
from acdc_pipeline.wiki.scores import Score, merged
from acdc_pipeline.wiki.slug import slugs

_SIZE = re.compile(r"[-_.]?(\d+(\.\d+)?[mbk]|s\d+|\d+l|small|medium|large|xl|base|deduped)$", re.I)


_RESERVED = ("build", "index", "schema", "scores", "search")
"""Files that lie beside those of models."""


@dataclass(frozen=True)
class Model:
    """One model at one revision of its weights.

    Args:
        ref: as people refer to it.
        revision: what pins its weights.
        slug: its folder on the site.
        title: `ref`, with the revision where several are on the site.
        n_layers, n_heads: its shape.
        d_model: width of the residual stream; None where no run says.
        shape: its graph; None where no run found a circuit.
        scores: head scores by metric.
        roles: the kinds of its heads.
        near_misses: of heads without one, the score that comes nearest to one.
        warnings: what keeps scores from telling its heads apart.
        nulls: what chance reaches, by metric; empty where no null was measured.
        questions: circuits by task; of several questions about one task the fullest is first.
        profiles: what else its profile runs kept, one for each task.
        run_ids: the runs that all this comes from.
        profile_ids: those of them that measured heads.
        digest: of the files of these runs, and of what was measured of them.
        measured: of the scores and roles in them.
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
    questions: Mapping[str, tuple[Question, ...]]
    profiles: tuple[Profile, ...]
    run_ids: tuple[str, ...]
    profile_ids: tuple[str, ...]
    digest: str
    measured: str

    @property
    def total_heads(self) -> int:
        """All heads of the model."""
        return self.n_layers * self.n_heads

    @property
    def data_version(self) -> str:
        """Twelve digits that change with every run of this model that comes or goes."""
        return sha256_of(list(self.run_ids))[:12]

    @property
    def family(self) -> str:
        """What its name says without organisation, size and seed: `gpt2`, `pythia`."""
        name = self.ref.partition("@")[0].partition(":")[2].rpartition("/")[2] or self.ref
        while (shorter := _SIZE.sub("", name)) != name and shorter:
            name = shorter
        return name.lower()

    @cached_property
    def size(self) -> int | None:
        """About how many weights stand in its layers: 4 d² a layer for attention, 8 d² for MLPs."""
        if self.d_model is None:
            return None
        has_mlp = self.shape is None or self.shape.has_mlp
        return self.n_layers * (12 if has_mlp else 4) * self.d_model**2

    def depth(self, layer: int) -> float:
        """Where a layer is between the first (0) and the last (1)."""
        return layer / (self.n_layers - 1) if self.n_layers > 1 else 0.0


def head_name(layer: int, head: int) -> str:
    """`a5.h1`."""
    return f"a{layer}.h{head}"


def models_of(gathered: Gathered) -> tuple[Model, ...]:
    """The models of a store, in the order of their names.

    Weights of different revisions are different models. Runs that say nothing of a model's shape
    (no circuit, no scores) make no page.
    """
    by_weights: dict[tuple[str, str], list[Run]] = {}
    for run in gathered.runs:
        by_weights.setdefault((run.spec.model, run.spec.model_revision), []).append(run)
    refs = [ref for ref, _ in by_weights]
    titles = {
        (ref, revision): ref if refs.count(ref) == 1 else f"{ref} ({revision[:8]})"
        for ref, revision in by_weights
    }
    folders = slugs(titles.values(), _RESERVED)
    found = [
        _model(ref, revision, titles[ref, revision], folders[titles[ref, revision]], runs)
        for (ref, revision), runs in by_weights.items()
    ]
    return tuple(sorted((m for m in found if m is not None), key=lambda m: (m.title, m.revision)))


def whole_model(model: Model, runs: Sequence[Run]) -> Model:
    """`model`, of whose profiles only summaries were read, with everything in them.

    Args:
        model: with summaries.
        runs: its `profile_ids`, whole and in this order.

    Raises:
        StoreError: they are not what they were.
    """
    if _measured(runs) != model.measured:
        raise StoreError(
            "its runs changed while the wiki was built", where=model.title, fix="build it again"
        )
    return replace(
        model,
        scores=merged((run.scores for run in runs), model.n_layers, model.n_heads),
        profiles=tuple(run.profile for run in runs if run.profile is not None),
    )


def _model(ref: str, revision: str, title: str, slug: str, runs: Sequence[Run]) -> Model | None:
    shape = next((run.shape for run in runs if run.shape is not None), None)
    sizes = _sizes(runs, shape)
    if sizes is None:
        return None
    profiles = tuple(run.profile for run in runs if run.profile is not None)
    roles = roles_of(profiles)
    widths = [run.details.get("d_model") for run in runs]
    return Model(
        ref=ref,
        revision=revision,
        slug=slug,
        title=title,
        n_layers=sizes[0],
        n_heads=sizes[1],
        d_model=next((int(w) for w in widths if isinstance(w, int)), None),
        shape=shape,
        scores=merged((run.scores for run in runs), *sizes),
        roles=roles,
        near_misses=near_misses_of(profiles, roles),
        warnings=tuple(dict.fromkeys(w for profile in profiles for w in profile.warnings)),
        nulls=merged_nulls(profiles),
        # Their scores are in `scores` already, and are not carried to other processes twice.
        questions=questions_of(replace(run, scores={}, profile=None) for run in runs),
        profiles=profiles,
        run_ids=tuple(sorted(run.run_id for run in runs)),
        profile_ids=tuple(run.run_id for run in runs if run.scores or run.profile),
        digest=sha256_of(sorted(run.shown for run in runs)),
        measured=_measured(run for run in runs if run.scores or run.profile),
    )


def _measured(runs: Iterable[Run]) -> str:
    return sha256_of(sorted(run.measured for run in runs))


def _sizes(runs: Iterable[Run], shape: Topology | None) -> tuple[int, int] | None:
    """Layers and heads: from a graph, else from the heads that were scored."""
    if shape is not None:
        return shape.n_layers, shape.n_heads
    grids = [score.values.shape for run in runs for score in run.scores.values()]
    if not grids:
        return None
    return max(layers for layers, _ in grids), max(heads for _, heads in grids)


HeadIndex = tuple[int, int]
"""Layer and head."""

Roles = Mapping[HeadIndex, tuple[HeadRole, ...]]


def roles_of(profiles: Iterable[Profile]) -> dict[HeadIndex, tuple[HeadRole, ...]]:
    """The roles in a model's profiles by head, each once."""
    found: dict[HeadIndex, dict[tuple[str, str | None], HeadRole]] = {}
    for profile in profiles:
        for role in profile.roles:
            place = role.node.layer or 0, role.node.head or 0
            found.setdefault(place, {}).setdefault((role.role, role.on), role)
    order = list(ROLES)
    return {
        place: tuple(sorted(roles.values(), key=lambda r: (order.index(r.role), r.on or "")))
        for place, roles in sorted(found.items())
    }


def near_misses_of(profiles: Iterable[Profile], roles: Roles) -> dict[HeadIndex, NearMiss]:
    """For each head that has no role in any profile, the score that comes nearest to one."""
    found: dict[HeadIndex, NearMiss] = {}
    for profile in profiles:
        for miss in profile.near_misses:
            place = miss.node.layer or 0, miss.node.head or 0
            if place in roles:
                continue
            if place not in found or miss.nearness > found[place].nearness:
                found[place] = miss
    return found


def primary_metric(role: str, task: str | None) -> str:
    """The score by which heads of a kind are ranked."""
    score = ROLES[role].required[0].score
    return metric_key(score, task if SCORES[score].per == "task" else None)
