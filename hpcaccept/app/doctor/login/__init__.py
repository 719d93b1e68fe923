"""What is seen from the login node? One file per thing that is looked at, found by module name.

Each has ``PLACE`` (its place on the page), ``FOR`` (the launchers it matters to), ``ask`` (the only part that looks) and ``judge``
(pure: what was seen → findings).
"""
