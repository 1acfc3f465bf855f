"""The files for HeadVis, beside the contract in its docstrings and the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.store import Store
from acdc_pipeline.wiki.headvis import find_profiled
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.workflows.site import export_headvis

NAME = "zoo:gpt2-4l-s0"


@pytest.fixture(scope="module")
def model(small_store: Store) -> Model:
    return find_profiled(small_store, NAME)


@pytest.fixture(scope="module")
def data(small_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("headvis") / "data"
    assert export_headvis(small_store, NAME, out) == sum(p.is_file() for p in out.rglob("*"))
    return out


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_config_and_scatter_have_every_head_and_score(data: Path, model: Model):
    config, rows = read(data / "config.json"), read(data / "scatter_data.json")
    assert config["heads"] == [[row["layer"], row["head"]] for row in rows]
    assert config["heads"] == [list(place) for place in model.places]
    assert (config["n_layers"], config["n_heads"], config["has_umap"]) == (4, 4, False)
    assert {*config["metrics"], "layer", "head"} == set().union(*rows)
    assert len(config["metrics"]) == len(set(config["metrics"])) == len(model.scores)
    for row in rows:
        place = row["layer"], row["head"]
        for shown, metric in (
            ("induction_score", "induction@1"),
            ("previous_token_score", "previous_token@1"),
            ("direct_effect on ioi", "direct_effect@1:ioi"),
        ):
            assert row[shown] == pytest.approx(model.scores[metric].values[place], abs=1e-4)
    assert read(data / "server_config.json") == read(data / "attributions/manifest.json") == {}


def test_sequences_are_those_stored_in_ten_parts_by_their_largest_attention(
    data: Path, model: Model
):
    shown = 0
    for layer, head in model.places:
        name = f"a{layer}.h{head}"
        found = read(data / "heads" / f"L{layer}H{head}.json")
        patterns = [p for profile in model.profiles for p in profile.patterns(name)]
        sequences = found["sequences"]
        for row in sequences:
            size = row["seq_len"]
            assert size == len(row["tokens"])
            dense = np.zeros((size, size))
            dense.flat[row["attention_indices"]] = row["attention_values"]
            seen = dense[1:, 1:][~np.eye(size - 1, dtype=bool)]
            assert row["max_activation"] == pytest.approx(seen.max(), abs=1e-9)
            for pattern in patterns:
                if list(pattern.tokens) == row["tokens"]:
                    whole = pattern.weights / 255
                    kept = dense > 0
                    np.testing.assert_allclose(dense[kept], whole[kept], atol=1e-4)
                    # the eight largest of each row
                    for query in range(size):
                        most = np.sort(whole[query])[::-1][:8]
                        kept = np.sort(dense[query][dense[query] > 0])[::-1]
                        np.testing.assert_allclose(kept, most[most >= 0.005], atol=1e-4)
                    shown += 1
        activations = [row["max_activation"] for row in sequences]
        intervals = [row["interval"] for row in sequences]
        assert activations == sorted(activations)
        assert intervals == sorted(intervals)
        sizes = np.bincount(intervals, minlength=11)
        assert sizes[0] == 0
        assert len(sizes) == 11
        # parts of the same number of sequences, or one more
        assert sizes[1:].max() - sizes[1:].min() <= 1
        pairs = [
            (abs(i // row["seq_len"] - i % row["seq_len"]), value)
            for row in sequences
            for i, value in zip(row["attention_indices"], row["attention_values"], strict=True)
        ]
        histogram = found["qk_distance_histogram"]
        counts, _ = np.histogram([distance for distance, _ in pairs], histogram["bin_edges"])
        assert histogram["bin_values"] == counts.tolist()
        for side in ("top_query_tokens", "top_key_tokens"):
            mass = sum(one["weight"] for one in found[side])
            assert mass == pytest.approx(sum(value for _, value in pairs), abs=1e-2)
    assert shown > 4


def test_other_models_and_folders_with_files_are_refused(
    small_store: Store, data: Path, tmp_path: Path
):
    with pytest.raises(InvalidInput, match="zoo:gpt2-4l-s0"):
        export_headvis(small_store, "zoo:gpt2-4l-s9", tmp_path / "x")
    with pytest.raises(InvalidInput, match="is not an empty folder"):
        export_headvis(small_store, NAME, data)
    with pytest.raises(InvalidInput, match="cannot be read: File name too long"):
        export_headvis(small_store, NAME, tmp_path / ("x" * 300))
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=r"cannot be written: .*file is not a folder"):
        export_headvis(small_store, NAME, tmp_path / "file" / "x")
