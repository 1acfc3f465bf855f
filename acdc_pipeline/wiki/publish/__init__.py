"""Publish a built site: to a folder, an object store, or a branch of a git repository."""
