"""What is set, and where each value came from: defaults ← system ← user ← project ← environment ← command line."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hpcaccept.config.gpu_request import GPUS_PER_NODE, with_gpu_type
from hpcaccept.config.nightly import NightlySettings, check
from hpcaccept.config.slurm_options import check_slurm_options
from hpcaccept.config.suites import SuiteText
from hpcaccept.config.toml import read_toml
from hpcaccept.errors import UsageError, nearest

#: Later files win over earlier ones.
SYSTEM_FILE = Path("/etc/hpcaccept.toml")
PROJECT_FILE = Path("hpcaccept.toml")
ENVIRONMENT_PREFIX = "HPCACCEPT_"
#: Variables with that prefix that tell a rank where it is, and resemble a setting.
_NO_SETTINGS = frozenset({"NODE"})
#: Tables of a settings file that change suites (``plan.override``), not settings.
OVERRIDES = ("checks", "limits", "peers")
#: Table of a settings file with settings of its own.
NIGHTLY = "nightly"
#: Characters of a value: as many as a path may have (PATH_MAX), and of a list of nodes as many as one argument of a program may have.
_LONGEST, _LONGEST_LIST = 4096, 131_072
#: Control characters, and what readers of Unicode take for the end of a line.
LINE_ENDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: Between the names of a list, as ClusterShell reads it.
_BETWEEN = re.compile(r"[,\s!&^\[]+")
#: Of any number: no time, share or count of a site comes near it.
_MOST = 10**12
#: Settings that hold lists of nodes.
_NODE_LISTS = ("nodelist", "exclude")


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; the names are those of the command line options.

    Attributes:
        nodes: how many nodes.
        nodelist: names, when they matter.
        exclude: names that must not be used.
        suite: name of a built-in suite or path of a file; ``auto``: ``quick`` with GPUs, ``cpu`` without.
        launcher: ``auto``, ``slurm``, ``hosts`` or ``local``.
        partition: of Slurm.
        account: of Slurm.
        gpus_per_node: GPUs that each node must have; -1: what Slurm's gres (or this machine's driver) say. ``TYPE:N`` sets gpu_type too.
        gpu_type: which of them, by Slurm's name (``h100``, a slice ``1g.10gb``); empty: any.
        ranks_per_node: MPI ranks per node; 0: one per GPU, else one.
        time: limit of the job in Slurm's notation; empty: an estimate.
        container_image: image reference, ``.sqsh`` or ``.sif``; empty: no container.
        container_mounts: ``SRC:DST[:FLAGS]``, several separated by commas.
        container_runtime: module name in hpcaccept.container; ``auto``: Pyxis under Slurm, else what this machine has and takes the image.
        container_workdir: where ranks start inside; empty: where the image says.
        container_env: variables that win over those of the image.
        container_writable: True to let ranks write into the image's file system.
        container_entrypoint: True to run the image's entry point first.
        python: interpreter for the ranks; empty: this one, or ``python3`` in a container.
        mpi: ``srun --mpi=`` type; ``auto``: the best one that ``srun --mpi=list`` names.
        slurm: further options of sbatch.
        keep_variables: names of variables, separated by commas, that driver and ranks see although they look like secrets.
        runs_dir: where runs are kept: a file system that all nodes share.
        baselines_dir: where baselines are looked for first and learned ones are written.
        history: folder of what past runs measured; empty: ``history`` among the runs.
        start_timeout_s: seconds until MPI must have started on all nodes, image pull included.
        queue_timeout_s: seconds to wait in the queue; 0: without limit.
    """

    nodes: int = 1
    nodelist: str = ""
    exclude: str = ""
    suite: str = "auto"
    launcher: str = "auto"
    partition: str = ""
    account: str = ""
    gpus_per_node: int = -1
    gpu_type: str = ""
    ranks_per_node: int = 0
    time: str = ""
    container_image: str = ""
    container_mounts: str = ""
    container_runtime: str = "auto"
    container_workdir: str = ""
    container_env: dict[str, str] = field(default_factory=dict)
    container_writable: bool = False
    container_entrypoint: bool = False
    python: str = ""
    mpi: str = "auto"
    slurm: dict[str, str] = field(default_factory=dict)
    keep_variables: str = ""
    runs_dir: str = "runs"
    baselines_dir: str = "baselines"
    history: str = ""
    start_timeout_s: float = 300.0
    queue_timeout_s: float = 0.0

    @property
    def history_folder(self) -> Path:
        """Where the past is kept."""
        return Path(self.history or Path(self.runs_dir) / "history").absolute()


@dataclass(frozen=True)
class Layered:
    """Settings with the origin of each value.

    Attributes:
        settings: all layers in one.
        origin: name of a setting → place of its value.
        overrides: what the files and the command line change in suites, later ones winning.
        nightly: the table ``[nightly]``, its options and ``HPCACCEPT_NIGHTLY_*``.
        nightly_origin: as ``origin``.
    """

    settings: Settings
    origin: dict[str, str]
    overrides: tuple[SuiteText, ...] = ()
    nightly: NightlySettings = field(default_factory=NightlySettings)
    nightly_origin: dict[str, str] = field(default_factory=dict)


def load_settings(
    options: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
    suite_options: Mapping[str, Mapping[str, Any]] | None = None,
    nightly_options: Mapping[str, Any] | None = None,
) -> Layered:
    """All layers, later ones winning.

    Args:
        options: of the command line; None means not given.
        environ: of this process.
        suite_options: what the command line changes in suites: tables of ``checks``.
        nightly_options: of ``hpcaccept nightly``; None means not given.

    Raises:
        UsageError: an unknown key or a value of the wrong kind, with its place and the nearest valid name.
    """
    user = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config") / "hpcaccept/config.toml"
    files = [(str(file), read_toml(file)) for file in (SYSTEM_FILE, user, PROJECT_FILE) if file.is_file()]
    overrides = [
        SuiteText(Path(place), found)
        for place, tables in files
        if (found := {key: tables[key] for key in OVERRIDES if key in tables})
    ]
    if suite_options:
        overrides.append(SuiteText(Path("command line"), {"checks": suite_options}))
    values, origin = _layers(
        Settings,
        [(place, {k: v for k, v in tables.items() if k not in (*OVERRIDES, NIGHTLY)}) for place, tables in files],
        environ,
        options,
    )
    of_nightly, nightly_origin = _layers(
        NightlySettings,
        [(place, _table(tables.get(NIGHTLY, {}), place)) for place, tables in files],
        environ,
        nightly_options or {},
        ENVIRONMENT_PREFIX + "NIGHTLY_",
    )
    nightly = NightlySettings(**of_nightly)
    check(nightly, nightly_origin)
    return Layered(Settings(**values), origin, tuple(overrides), nightly, nightly_origin)


def _table(found: object, place: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise UsageError(
            f"{place}: {NIGHTLY} is {found!r}, expected a table.", f"Write [{NIGHTLY}] above its settings."
        )
    return found


def _layers(
    kind: type,
    files: list[tuple[str, Mapping[str, Any]]],
    environ: Mapping[str, str],
    options: Mapping[str, Any],
    prefix: str = ENVIRONMENT_PREFIX,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and their places for one dataclass of settings, later layers winning."""
    values: dict[str, Any] = {}
    origin = {f.name: "default" for f in fields(kind)}

    def put(layer: Mapping[str, Any], place: str) -> None:
        for key, value in with_gpu_type(layer, place).items():
            name = key.replace("-", "_")
            values[name] = _fit(key, value, place, kind)
            origin[name] = place

    for place, layer in files:
        put(layer, place)
    put(_from_environment(environ, kind, prefix), "environment")
    put({key: value for key, value in options.items() if value is not None and value != {}}, "command line")
    return values, origin


def _one_line(key: str, text: str, place: str) -> None:
    """Everything is written into scripts and commands sooner or later, where a line more is a command more."""
    longest = _LONGEST_LIST if key in _NODE_LISTS else _LONGEST
    if LINE_ENDS.search(text) or len(text) > longest:
        shown = f"{text[:60]!r}{'…' if len(text) > 60 else ''}"
        expected = f"expected one line of at most {longest:,} characters, none of them a control character"
        raise UsageError(f"{place}: setting {key!r} is {shown}, {expected}.")


def _from_environment(environ: Mapping[str, str], settings: type, prefix: str) -> dict[str, Any]:
    known = {f.name: f for f in fields(settings)}
    found: dict[str, Any] = {}
    for name, field_ in known.items():
        text = environ.get(prefix + name.upper())
        if text is None:
            continue
        kind = str(field_.type)
        place = f"environment variable {prefix}{name.upper()}"
        # TYPE:N is not a number yet.
        found[name] = text if name == GPUS_PER_NODE else _from_text(text, kind, place)
    _no_misspelt(environ, known, prefix)
    return found


def _no_misspelt(environ: Mapping[str, str], known: Collection[str], prefix: str) -> None:
    """Refuse a variable that is nearly a setting: without it other things would be tested than were asked for, and might be accepted."""
    for variable in sorted(environ):
        name = variable.removeprefix(prefix)
        if name == variable or name in _NO_SETTINGS or name.lower() in known or name.startswith("NIGHTLY_"):
            continue
        from difflib import get_close_matches

        if close := get_close_matches(name.lower(), known, n=1, cutoff=0.8):
            raise UsageError(
                f"environment variable {variable} is not a setting.",
                f"Did you mean {prefix}{close[0].upper()}? Else unset it.",
            )


def _from_text(text: str, kind: str, place: str) -> object:
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
    except ValueError:
        raise UsageError(f"{place} is {text!r}, expected a number.") from None
    if kind == "bool":
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise UsageError(f"{place} is {text!r}, expected true or false.")
        return text.lower() in ("true", "1", "yes")
    if kind.startswith("dict"):
        pairs = [part.partition("=") for part in text.split(",") if part]
        if not all(equals for _, equals, _ in pairs):
            raise UsageError(f"{place} is {text!r}, expected key=value[,key=value…].")
        return {key.strip(): value.strip() for key, _, value in pairs}
    return text


def _fit(key: str, value: object, place: str, settings: type) -> object:
    known = {f.name: f for f in fields(settings)}
    name = key.replace("-", "_")
    if name not in known:
        tables = (*OVERRIDES, NIGHTLY) if settings is Settings else ()
        raise UsageError(f"{place}: there is not a setting {key!r}.", nearest(name, (*known, *tables)))
    kind = str(known[name].type)
    right = {
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, (int, float)) and not isinstance(value, bool),
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
    }.get(kind, isinstance(value, Mapping))
    if not right:
        raise UsageError(f"{place}: setting {key!r} is {value!r}, expected {kind}.")
    if kind.startswith("dict") and isinstance(value, Mapping):
        table = {str(k): str(v) for k, v in value.items()}
        for text in (*table, *table.values()):
            _one_line(key, text, place)
        if name == "slurm":
            check_slurm_options(table, place)
        return table
    if isinstance(value, str):
        _one_line(key, value, place)
        if name in _NODE_LISTS and any(part.startswith("-") for part in _BETWEEN.split(value)):
            raise UsageError(f"{place}: {key} is {value[:80]!r}: no node has a name that begins with '-'.")
    if isinstance(value, float) and settings is NightlySettings:
        return value  # what each of those may be is known: nightly.check
    if kind in ("int", "float") and isinstance(value, (int, float)):
        return _number(key, value, kind, place)
    return value


def _number(key: str, value: int | float, kind: str, place: str) -> int | float:
    """A number that can be counted with: NaN passes every bound, and no plan can hold it."""
    # An int may be too large for a float; a comparison of both is exact.
    if not -_MOST <= value <= _MOST:
        shown = repr(value) if isinstance(value, float) else f"a number of {value.bit_length()} bits"
        raise UsageError(f"{place}: setting {key!r} is {shown}, expected a number between -{_MOST:,} and {_MOST:,}.")
    return float(value) if kind == "float" else value
