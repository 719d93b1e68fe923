"""The scripts that Slurm starts, and the lines for slurm.conf that name them. Shown first, then written; ``slurm_conf`` has what becomes of the site's file.

Prolog and Epilog start no Slurm command: the exit code drains (https://slurm.schedmd.com/prolog_epilog.html, 25.05). slurmd ignores the exit
code of HealthCheckProgram, so that script drains itself, once, and only a node that nobody has drained. Slurm gives "Prolog error" or
"Epilog error" as the reason of such a node; the health check puts the gate's reason in its place, where the node's own record says that it was the gate.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from hpcaccept.errors import RunError
from hpcaccept.store.replaced_files import replace_file

FOLDER = Path("/etc/hpcaccept")
LOG = Path("/var/log/hpcaccept-node-check.log")


@dataclass(frozen=True)
class Site:
    """What the scripts are made for.

    Attributes:
        folder: where they lie; on every node, on a local disk.
        python: interpreter that hpcaccept is installed for.
        config: what is expected of the node.
        state: where the node remembers.
        log: what the scripts add to.
        on_unknown: what Slurm does with a node that could not be judged.
        scontrol: path of the program, for the health check.
        slurm_conf: that it reads; empty: the usual one.
        interval_s: between two health checks.
        metrics: what the health check writes for monitoring; None: nothing.
    """

    folder: Path = FOLDER
    python: str = sys.executable
    config: Path = FOLDER / "node-check.toml"
    state: Path = Path("/var/lib/hpcaccept/node-check")
    log: Path = LOG
    on_unknown: str = "fit"
    scontrol: str = "/usr/bin/scontrol"
    slurm_conf: str = ""
    interval_s: int = 300
    metrics: Path | None = None

    def command(self, phase: str) -> str:
        """One line of shell: the gate of a phase. It ends itself after 8 s; timeout is for a start-up that hangs."""
        words = [
            "timeout", "-k", "1", "10", self.python, "-m", "hpcaccept", "node-check", "--nhc", "--phase", phase,
            "--config", str(self.config), "--state-dir", str(self.state), "--on-unknown", self.on_unknown,
        ]  # fmt: skip
        if self.metrics and phase == "health":
            words += ["--prometheus", str(self.metrics)]
        return shlex.join(words)


_HEAD = """#!/bin/bash
# Written by "hpcaccept node-check install"; what it does is in docs/how-to/fleet.md.
set -u
log={log}
node=${{SLURMD_NODENAME:-$(uname -n)}}
node=${{node%%.*}}
say() {{ printf '%s %s %s job=%s %s\\n' "$(date -u +%FT%TZ)" "$node" {phase} "${{SLURM_JOB_ID:-}}" "$1" >>"$log" 2>/dev/null; }}
said=$({command} 2>&1)
code=$?
first=${{said%%$'\\n'*}}
why=$(sed -n 's/^reason //p' <<<"$said")
"""

_JOB = """# 124 and 137: it hung at its own start-up. What cannot be judged is --on-unknown's; what is wrongly installed blames no node.
case $code in
  0) say "$first"; rm -f {refused}; exit 0 ;;
  1) say "$said"; printf '%s' "$why" >{refused}; exit 1 ;;
  *) say "not judged ($code): $said"; exit {unknown} ;;
esac
"""

_HEALTH = """refused={state}/refused
say "$first"
{conf}found=$({scontrol} -o show node "$node" 2>&1) || {{ say "scontrol: $found"; exit 0; }}
reason=$(sed -nE 's/.* Reason=(.*) \\[[^]]*\\].*/\\1/p' <<<"$found")
# Slurm's own words for a prolog or epilog that failed say nothing; this node remembers that it was the gate, and why.
if [[ "$reason" =~ ^(Prolog|Epilog)\\ error$ ]] && [ -s "$refused" ]; then
  {scontrol} update NodeName="$node" Reason="$(cat "$refused")" && rm -f "$refused"
  exit 0
fi
[ "$code" = 1 ] && [ -n "$why" ] || exit 0
# Only a node that nobody has drained, and that is not down: somebody else's reason stays.
case " $found" in
  *" Reason="* | *" State="*DRAIN* | *" State="*DOWN*) exit 0 ;;
esac
{scontrol} update NodeName="$node" State=DRAIN Reason="$why"
"""


def scripts(site: Site) -> dict[str, str]:
    """File name → text of every script."""
    unknown = {"fit": 0, "unfit": 1}.get(site.on_unknown, 3)
    refused = shlex.quote(str(site.state / "refused"))
    names = {
        "log": shlex.quote(str(site.log)),
        "state": shlex.quote(str(site.state)),
        "scontrol": shlex.quote(site.scontrol),
    }

    names["conf"] = f"export SLURM_CONF={shlex.quote(site.slurm_conf)}\n" if site.slurm_conf else ""

    def head(phase: str) -> str:
        return _HEAD.format(phase=phase, command=site.command(phase), **names)

    body = _JOB.format(refused=refused, unknown=unknown)
    return {
        "prolog-node-check": head("prolog") + body,
        "epilog-node-check": head("epilog") + body,
        "health-node-check": head("health") + _HEALTH.format(**names),
    }


def slurm_lines(site: Site) -> str:
    """What belongs into slurm.conf."""
    return "\n".join(
        [
            f"HealthCheckProgram={site.folder / 'health-node-check'}",
            f"HealthCheckInterval={site.interval_s}",
            "HealthCheckNodeState=ANY,CYCLE",
            f"Prolog={site.folder / 'prolog-node-check'}",
            f"Epilog={site.folder / 'epilog-node-check'}",
            "PrologFlags=Alloc",
            "",
        ]
    )


def write_scripts(site: Site) -> None:
    """Write the scripts, for root to run and everybody to read.

    Raises:
        RunError: the folder takes no writing.
    """
    try:
        site.folder.mkdir(parents=True, exist_ok=True)
        site.state.mkdir(parents=True, exist_ok=True)
        for name, text in scripts(site).items():
            replace_file(site.folder / name, text, 0o755)
    except OSError as fault:
        raise RunError(f"Cannot write into {site.folder}: {fault.strerror}.", "Type it as root.") from None


def units(site: Site, runs_dir: Path, suite: str) -> dict[str, str]:
    """File name → text of the service and the timer of ``node-check --deep``.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.timer.html (255)
    """
    words = [
        site.python, "-m", "hpcaccept", "node-check", "--deep", "--config", str(site.config), "--state-dir", str(site.state),
        "--runs-dir", str(runs_dir), "--suite", suite,
    ]  # fmt: skip
    quoted = " ".join('"' + word.replace("%", "%%").replace("$", "$$") + '"' for word in words)
    service = f"[Unit]\nDescription=hpcaccept node-check --deep\n\n[Service]\nType=oneshot\nExecStart={quoted}\nSuccessExitStatus=1 3\nNice=10\n"
    timer = (
        "[Unit]\nDescription=hpcaccept node-check --deep, while the node is idle\n\n[Timer]\nOnCalendar=hourly\n"
        "RandomizedDelaySec=50min\nPersistent=false\n\n[Install]\nWantedBy=timers.target\n"
    )
    return {"hpcaccept-node-check-deep.service": service, "hpcaccept-node-check-deep.timer": timer}
