"""No container: ranks run with the host's own Python."""

from __future__ import annotations

NEEDS: tuple[str, ...] = ()
