"""Legend of tensor dimensions: the one place that says what a shape name means.

batch     prompts
pos       token positions inside a prompt
answer    (prompt, position) pairs at which an answer is read; one per prompt unless stated
d_model   width of the residual stream
head      attention heads of one layer
kv_head   key/value heads of one layer (fewer than `head` under grouped-query attention)
d_head    width of one head
d_mlp     width of the MLP's hidden layer
vocab     entries of the unembedding
vocab_in  entries of the embedding, where a model may read other tokens than it writes
src       source nodes of the graph, in computation order
dst       receivers of the graph
edge      edges of the graph, in its own order
gate      gates of a forward: one for every edge, or one for every source
state     circuits evaluated together: one set of removed edges each
corrupted_pos  positions of a counterfactual whose sides differ in length
question  prompts whose whole answers are compared
alternative  whole answers of one prompt
width     coordinates of one named subspace of a compiled model's residual stream
"""

LEGEND = (
    "batch",
    "pos",
    "answer",
    "d_model",
    "head",
    "kv_head",
    "d_head",
    "d_mlp",
    "vocab",
    "vocab_in",
    "src",
    "dst",
    "edge",
    "gate",
    "state",
    "corrupted_pos",
    "question",
    "alternative",
    "width",
)
