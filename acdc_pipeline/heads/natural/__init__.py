"""What heads do on ordinary text: where they look, what they write, and examples of both."""
