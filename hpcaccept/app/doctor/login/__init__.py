"""What the doctor sees from the login node. One file per thing that is looked at, found by module name.

Each has ``PLACE`` (its place on the page), ``NEEDS`` (what a launcher must provide for it to matter), ``ask`` (the only part that looks) and ``judge``
(pure: what was seen → findings).
"""
