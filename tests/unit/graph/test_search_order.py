"""The order of the search, written out for a graph small enough to do by hand."""

from __future__ import annotations

from acdc_pipeline.graph import LOGITS, Receiver, Topology
from acdc_pipeline.graph.search_order import receivers_backwards, sources_backwards

TINY = Topology(n_layers=2, n_heads=2, has_mlp=True)


def test_receivers_backwards_reverse_heads_is_the_documented_order():
    names = [str(receiver) for receiver in receivers_backwards(TINY, "reverse-heads")]
    assert " ".join(names) == (
        "logits "
        "m1 a1.h1<v> a1.h0<v> a1.h1<k> a1.h0<k> a1.h1<q> a1.h0<q> "
        "m0 a0.h1<v> a0.h0<v> a0.h1<k> a0.h0<k> a0.h1<q> a0.h0<q>"
    )


def test_receivers_backwards_natural_turns_only_the_heads_of_a_layer():
    names = [str(receiver) for receiver in receivers_backwards(TINY, "natural")]
    assert " ".join(names[:8]) == (
        "logits m1 a1.h0<v> a1.h1<v> a1.h0<k> a1.h1<k> a1.h0<q> a1.h1<q>"
    )


def test_sources_backwards_latest_first_input_last():
    logits = Receiver(LOGITS)
    names = [str(node) for node in sources_backwards(TINY, logits, "reverse-heads")]
    assert " ".join(names) == "m1 a1.h1 a1.h0 m0 a0.h1 a0.h0 input"
    names = [str(node) for node in sources_backwards(TINY, logits, "natural")]
    assert " ".join(names) == "m1 a1.h0 a1.h1 m0 a0.h0 a0.h1 input"


def test_sources_backwards_of_a_head_stops_before_its_layer():
    names = [
        str(node) for node in sources_backwards(TINY, Receiver.parse("a1.h0<k>"), "reverse-heads")
    ]
    assert " ".join(names) == "m0 a0.h1 a0.h0 input"


def test_search_order_has_the_mixer_between_mlp_and_heads():
    topology = Topology.of_layers(["rm", "arm"], 2)
    names = [str(receiver) for receiver in receivers_backwards(topology, "natural")]
    assert " ".join(names) == (
        "logits m1 r1 a1.h0<v> a1.h1<v> a1.h0<k> a1.h1<k> a1.h0<q> a1.h1<q> m0 r0"
    )
    names = [str(n) for n in sources_backwards(topology, Receiver(LOGITS), "natural")]
    assert " ".join(names) == "m1 r1 a1.h0 a1.h1 m0 r0 input"
    names = [str(n) for n in sources_backwards(topology, Receiver(LOGITS), "reverse-heads")]
    assert " ".join(names) == "m1 r1 a1.h1 a1.h0 m0 r0 input"
