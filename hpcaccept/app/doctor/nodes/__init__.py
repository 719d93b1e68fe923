"""What the nodes report of themselves. One file per thing, found by module name.

Each has ``PLACE`` (its place on the page) and ``judge`` (pure: what the nodes said → findings).
"""
