"""Convert checkpoints of training code into model directories of the TransformerLens format."""
