"""The results store as a static site: a page for every attention head of every model.

Reads the store alone; loads neither torch nor Ray, and nothing of the network.
"""
