"""The parts of docs/ that are generated; `make docs` runs them."""
