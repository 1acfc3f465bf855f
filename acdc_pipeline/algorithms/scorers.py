"""Every method that scores edges, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from acdc_pipeline.algorithms.clean_corrupted import clean_corrupted
from acdc_pipeline.algorithms.eap import eap
from acdc_pipeline.algorithms.eap_ig_activations import eap_ig_activations
from acdc_pipeline.algorithms.eap_ig_inputs import eap_ig_inputs
from acdc_pipeline.algorithms.edge_pruning import edge_pruning
from acdc_pipeline.algorithms.exact import exact
from acdc_pipeline.algorithms.hisp import hisp
from acdc_pipeline.algorithms.node_attribution import node_attribution
from acdc_pipeline.algorithms.node_exact import node_exact
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.algorithms.random_scores import random_scores
from acdc_pipeline.algorithms.subnetwork_probing import subnetwork_probing

# Each scorer takes the parameters of its own method, so no one type fits all.
SCORERS: Mapping[str, Callable[[Question, Any], EdgeScores]] = {
    "eap": eap,
    "eap-ig-inputs": eap_ig_inputs,
    "eap-ig-activations": eap_ig_activations,
    "clean-corrupted": clean_corrupted,
    "exact": exact,
    "node-attribution": node_attribution,
    "node-exact": node_exact,
    "hisp": hisp,
    "edge-pruning": edge_pruning,
    "subnetwork-probing": subnetwork_probing,
    "random": random_scores,
}
