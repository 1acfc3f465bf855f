"""The page with every score of every head of a model, as one table."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from acdc_pipeline.wiki.models import head_name
from acdc_pipeline.wiki.page import Data, SectionPage, frame
from acdc_pipeline.wiki.text import format_aligned


class ModelScoresPage(SectionPage[None]):
    """The table of all scores of a model; only of models with scores."""

    template = "model_scores.html"

    def paths(self) -> Iterator[tuple[str, None]]:
        if self.section.ranked_scores:
            yield f"m/{self.section.model.slug}/scores.html", None

    def data(self, _: None) -> Data:
        section, model = self.section, self.section.model
        trail = (("Models", "m/index.html"), (model.title, f"m/{model.slug}/index.html"))
        columns = [
            list(map(format_aligned, ranked.values.values.ravel().tolist()))
            for ranked in section.ranked_scores
        ]
        rows = list(zip(*columns, strict=True))
        return {
            **frame(2, f"All scores of {model.title}", *trail, ("All scores", None)),
            "model": model,
            "titles": [ranked.site.title for ranked in section.ranked_scores],
            # numbers and names of heads only; made here, for they are many
            "rows": Markup(
                "\n".join(
                    f"<tr id={name}><th scope=row><a href={name}.html>{name}</a>"
                    f"<td>{'<td>'.join(rows[layer * model.n_heads + head])}"
                    for layer, head in model.places
                    for name in (head_name(layer, head),)
                )
            ),
        }
