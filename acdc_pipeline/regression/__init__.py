"""Fresh circuits against committed baselines: what drifted, what failed, and why."""
