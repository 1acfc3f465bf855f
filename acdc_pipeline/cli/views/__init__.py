"""Results as the terminal shows them, and as JSON documents."""
