"""Side-by-side speed and scale measurements."""
