"""``hpcaccept simulate``."""

from __future__ import annotations

from pathlib import Path

import click

#: Written out, so that ``--help`` needs no numpy; tests/unit/simulate/test_simulate.py holds them against the simulation's own.
KINDS = (
    "clock", "power", "memory", "pcie", "nvlink", "network", "heat", "host", "rack", "storage", "flapping",
)  # fmt: skip
PRESETS = ("H100", "PCIe, air-cooled", "liquid-cooled")


@click.command()
@click.option("--nodes", type=click.IntRange(3, 16384), default=128, show_default=True, help="Nodes of the fleet.")
@click.option("--gpus", type=click.IntRange(1, 16), default=8, show_default=True, help="GPUs per node.")
@click.option(
    "--preset", type=click.Choice(PRESETS), default="H100", show_default=True, help="How much healthy units differ."
)
@click.option(
    "--faults", "kinds", type=click.Choice(KINDS), multiple=True, help="Kind of fault, repeatable.  [default: all nine]"
)
@click.option(
    "--magnitude", type=click.FloatRange(0, 99), default=5.0, show_default=True, help="Loss in percent; 0: no faults."
)
@click.option(
    "--share", type=click.FloatRange(0.01, 50), default=3.0, show_default=True, help="Nodes with a fault, percent."
)
@click.option("--runs", type=click.IntRange(1, 10000), default=20, show_default=True, help="Fleets to make and judge.")
@click.option("--past", type=click.IntRange(0, 100), default=0, show_default=True, help="Earlier runs of each fleet.")
@click.option(
    "--disturbed", type=click.FloatRange(0, 50), default=0.3, show_default=True, help="Launches that are slow, percent."
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same numbers."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the numbers to FILE.")
def simulate(
    nodes: int, gpus: int, preset: str, kinds: tuple[str, ...], magnitude: float, share: float, runs: int, past: int,
    disturbed: float, seed: int, json_file: Path | None,
) -> int:  # fmt: skip
    """Say how small a fault is found in a simulated fleet, and how often a healthy node is blamed.

    Simulated fleets with known faults are judged by the code that judges real runs, retests included, and by the rules
    of other tools. explanation/detection.md, where 'hpcaccept files docs' says, has the tables that a release publishes.
    """
    from hpcaccept.app.simulate import simulate as run_simulation

    click.echo(
        run_simulation(
            nodes=nodes, gpus=gpus, preset=preset, kinds=kinds, magnitude=magnitude / 100, faulty=share / 100, runs=runs,
            past=past, disturbed=disturbed / 100, seed=seed, json_file=json_file,
        )
    )  # fmt: skip
    return 0
