"""Pictures of the site: colour scales, mosaics, attention patterns, circuits, plots."""
