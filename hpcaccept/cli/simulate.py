"""``hpcaccept simulate``."""

from __future__ import annotations

from pathlib import Path

import click

from hpcaccept.cli.finite import FiniteRange

#: Written out, so that ``--help`` needs no numpy; tests/unit/simulate/test_simulate.py holds them against the simulation's own.
KINDS = (
    "clock", "power", "memory", "pcie", "nvlink", "network", "heat", "host", "rack", "storage", "flapping",
)  # fmt: skip
FAULTS = ("node", "link", "leaf_pair", "scale")
PRESETS = ("H100", "PCIe, air-cooled", "liquid-cooled")


@click.group(invoke_without_command=True)
@click.option("--nodes", type=click.IntRange(3, 16384), default=128, show_default=True, help="Nodes of the fleet.")
@click.option("--gpus", type=click.IntRange(1, 16), default=8, show_default=True, help="GPUs per node.")
@click.option(
    "--preset", type=click.Choice(PRESETS), default="H100", show_default=True, help="How much healthy units differ."
)
@click.option(
    "--faults", "kinds", type=click.Choice(KINDS), multiple=True, help="Kind of fault, repeatable.  [default: all nine]"
)
@click.option(
    "--magnitude", type=FiniteRange(0, 99), default=5.0, show_default=True, help="Loss in percent; 0: no faults."
)
@click.option(
    "--share", type=FiniteRange(0.01, 50), default=3.0, show_default=True, help="Nodes with a fault, percent."
)
@click.option("--runs", type=click.IntRange(1, 10000), default=20, show_default=True, help="Fleets to make and judge.")
@click.option("--past", type=click.IntRange(0, 100), default=0, show_default=True, help="Earlier runs of each fleet.")
@click.option(
    "--disturbed", type=FiniteRange(0, 50), default=0.3, show_default=True, help="Launches that are slow, percent."
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same numbers."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the numbers to FILE.")
@click.pass_context
def simulate(
    ctx: click.Context, nodes: int, gpus: int, preset: str, kinds: tuple[str, ...], magnitude: float, share: float, runs: int, past: int,
    disturbed: float, seed: int, json_file: Path | None,
) -> int:  # fmt: skip
    """Say how small a fault is found in a simulated fleet, and how often a healthy node is blamed.

    'simulate isolation' says the same of the search for whose fault it is.

    Simulated fleets with known faults are judged by the code that judges real runs, retests included, and by the rules
    of other tools. explanation/detection.md, where 'hpcaccept files docs' says, has the tables that a release publishes.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from hpcaccept.app.simulate import simulate as run_simulation

    click.echo(
        run_simulation(
            nodes=nodes, gpus=gpus, preset=preset, kinds=kinds, magnitude=magnitude / 100, faulty=share / 100, runs=runs,
            past=past, disturbed=disturbed / 100, seed=seed, json_file=json_file,
        )
    )  # fmt: skip
    return 0


@simulate.command()
@click.option("--nodes", type=click.IntRange(4, 4096), default=64, show_default=True, help="Nodes of the fleet.")
@click.option("--fault", type=click.Choice(FAULTS), default="node", show_default=True, help="What is broken.")
@click.option("--count", type=click.IntRange(0, 64), default=1, show_default=True, help="Bad nodes, for --fault node.")
@click.option(
    "--slow",
    type=FiniteRange(0, 99),
    default=0.0,
    show_default=True,
    help="How slow they are, percent; 0: they fail.",
)
@click.option("--noise", type=FiniteRange(0.01, 20), default=1.0, show_default=True, help="Of a value, percent.")
@click.option(
    "--false-fail", type=FiniteRange(0, 30), default=2.0, show_default=True, help="Good groups that fail, percent."
)
@click.option(
    "--missed", type=FiniteRange(0, 60), default=5.0, show_default=True, help="Bad groups that pass, percent."
)
@click.option("--leaves", type=click.IntRange(0, 256), default=0, show_default=True, help="Leaf switches; 0: unknown.")
@click.option(
    "--size",
    type=click.IntRange(2),
    default=32,
    show_default=True,
    help="For --fault scale: nodes from which on it fails.",
)
@click.option("--until", type=FiniteRange(0.5, 0.9999), default=0.95, show_default=True, help="Posterior to reach.")
@click.option("--runs", type=click.IntRange(1, 10000), default=20, show_default=True, help="Fleets to make and search.")
@click.option("--others", is_flag=True, help="Search the same fleets as other tools do, too.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same numbers."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the numbers to FILE.")
def isolation(
    nodes: int, fault: str, count: int, slow: float, noise: float, false_fail: float, missed: float, leaves: int, size: int,
    until: float, runs: int, others: bool, seed: int, json_file: Path | None,
) -> int:  # fmt: skip
    """Say how well 'hpcaccept isolate' finds whose fault it is in a simulated fleet.

    Tests, rounds, how often exactly the fault is named, and how often somebody else. explanation/isolation.md, where
    'hpcaccept files docs' says, has the tables that a release publishes.
    """
    from hpcaccept.app.simulate_isolation import simulate_isolation

    click.echo(
        simulate_isolation(
            nodes=nodes, fault=fault, count=count, slow=slow / 100, noise=noise / 100, false_fail=false_fail / 100,
            missed=missed / 100, leaves=leaves, size=size, until=until, runs=runs, others=others, seed=seed,
            json_file=json_file,
        )
    )  # fmt: skip
    return 0
