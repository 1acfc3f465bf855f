"""What the runs of each day added to the site, and the feeds of it."""
