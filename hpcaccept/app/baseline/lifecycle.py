"""The life of a baseline: a person approves it or retires it; generations are looked up by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.errors import RunError, StoreError, UsageError
from hpcaccept.judge.baseline.decline import accept, declines
from hpcaccept.model.baseline import Baseline, Change
from hpcaccept.store.baseline_file import SHIPPED, VERSION, change_file, file_name, read_generations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def approve(
    baselines_dir: Path,
    model: str,
    by: str,
    until: str = "",
    generation: int = 0,
    why: str = "",
    accepted: Sequence[str] = (),
) -> str:
    """Vouch for a generation: from now on it judges where a suite requires a baseline.

    Args:
        baselines_dir: where the files are.
        model: device model, or a part of its name that only one has.
        by: who vouches.
        until: last day on which it may judge, ``YYYY-MM-DD``; empty: without end.
        generation: 0: the newest draft.
        why: in their words.
        accepted: keys that may be worse than what was vouched for before.

    Raises:
        UsageError: no such model or generation, a date that is none or has passed, nobody who vouches.
        RunError: a metric has declined since an earlier approval.
    """
    if not by.strip():
        raise UsageError("Nobody vouches for it: --by is empty.", "Name yourself: --by 'Ann Admin'.")
    _must_be_a_coming_day(until)

    def change(one: Baseline, others: tuple[Baseline, ...]) -> Baseline:
        shipped = generations_of(SHIPPED / file_name(one.model), one.model)
        sound = unless_declined(
            one, (*others, *shipped), (*accepted, *(k for k, e in one.entries.items() if e.accepted))
        )
        return _changed(sound, Change("approved", now(), by, until, why))

    return _change_one(baselines_dir, model, generation, ("draft", "approved"), change)


def retire(baselines_dir: Path, model: str, by: str, generation: int = 0, why: str = "") -> str:
    """Let a generation judge no more; it stays in the file.

    Args:
        baselines_dir: where the files are.
        model: device model, or a part of its name that only one has.
        by: who says so.
        generation: 0: the newest that judges.
        why: in their words.

    Raises:
        UsageError: no such model or generation.
    """
    return _change_one(
        baselines_dir,
        model,
        generation,
        ("approved", "draft"),
        lambda one, _: _changed(one, Change("expired", now(), by, why=why)),
    )


def _changed(one: Baseline, change: Change) -> Baseline:
    return replace(one, state=change.state, changes=(*one.changes, change))


def _change_one(
    baselines_dir: Path,
    model: str,
    generation: int,
    states: tuple[str, ...],
    change: Callable[[Baseline, tuple[Baseline, ...]], Baseline],
) -> str:
    """Change one generation under the lock; without a number the newest in the first of these states that there is."""
    file, name = _file_of(baselines_dir, model)
    number = 0

    def apply(there: tuple[Baseline, ...]) -> tuple[Baseline, ...]:
        nonlocal number
        number = generation or _newest(there, states, name)
        if not 0 < number <= len(there):
            raise UsageError(f"{name} has no generation {number}: there are {len(there)}.", "hpcaccept baseline show")
        chosen = there[number - 1]
        if chosen.state == "shipped":
            raise UsageError(
                f"Generation {number} of {name} is shipped with hpcaccept; nobody here can vouch for it or retire it.",
                "Learn one of your own: hpcaccept baseline learn RUN",
            )
        others = tuple(one for one in there if one is not chosen)
        return tuple(change(one, others) if one is chosen else one for one in there)

    later = change_file(file, name, apply)[number - 1]
    last = later.changes[-1]
    until = f", until {last.until}" if last.until else ""
    return f"{name}: generation {number} is {last.state} by {last.by}{until}"


def _newest(there: tuple[Baseline, ...], states: tuple[str, ...], model: str) -> int:
    for state in states:
        numbers = [number for number, one in enumerate(there, 1) if one.state == state]
        if numbers:
            return numbers[-1]
    raise UsageError(f"{model} has no {' or '.join(states)} generation.", "hpcaccept baseline learn RUN")


def _file_of(baselines_dir: Path, model: str) -> tuple[Path, str]:
    """File and full name of the one model that a text means."""
    names = {}
    for file in sorted(baselines_dir.glob("*.h5")):
        names[read_generations(file)[0].model] = file
    chosen = [name for name in names if name == model] or [name for name in names if model.lower() in name.lower()]
    if len(chosen) != 1:
        listed = ", ".join(chosen or names) or "none"
        problem = "means several models" if chosen else "names no model"
        raise UsageError(
            f"{model!r} {problem} in {baselines_dir}: {listed}.", "Give the name as 'baseline show' prints it."
        )
    return names[chosen[0]], chosen[0]


def generations_of(file: Path, model: str) -> tuple[Baseline, ...]:
    """Of a file of this very model; none where there is no such file."""
    if not file.exists():
        return ()
    found = read_generations(file)
    return found if found[0].model == model else ()


def _must_be_a_coming_day(text: str) -> None:
    if not text:
        return
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--until: found {text!r}, expected a day as YYYY-MM-DD.") from None
    if day < datetime.now(timezone.utc).date():
        raise UsageError(f"--until: {text} has passed.", "To end one now: hpcaccept baseline retire.")


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def unless_declined(learned: Baseline, earlier: Sequence[Baseline], accepted: Sequence[str]) -> Baseline:
    """The baseline, with the accepted declines written down.

    Args:
        learned: to be written or vouched for.
        earlier: every other generation of the model, oldest first, shipped ones included.
        accepted: keys (``*`` for any text) that may be worse than what was vouched for.

    Raises:
        RunError: a metric has declined that was not accepted.
    """
    learned, refused = accept(learned, declines(learned, earlier), accepted)
    if refused:
        listed = "\n".join(f"  {one}" for one in refused)
        raise RunError(
            f"{learned.model} is worse than it was when somebody vouched for it; that is not learned as normal:\n{listed}",
            "Find out why. If it is meant to be so, name each: "
            + " ".join(f"--accept-decline '{d.key}'" for d in refused),
        )
    return learned


# --- looking ----------------------------------------------------------------------------------------------------------


def known_baselines(baselines_dir: Path, model: str = "") -> list[tuple[Path, tuple[Baseline, ...]]]:
    """File and generations of every model whose name contains a text, the site's own first.

    Raises:
        StoreError: a file is damaged.
    """
    files = dict.fromkeys(
        file.absolute() for folder in (baselines_dir, SHIPPED) for file in sorted(folder.glob("*.h5"))
    )
    found = [(file, read_generations(file)) for file in files]
    return [(f, g) for f, g in found if model.lower() in g[0].model.lower() or model == f.name]


def one_generation(baselines_dir: Path, text: str) -> Baseline:
    """``MODEL``, ``MODEL@2`` or ``FILE.h5@2``; without a number the newest.

    Raises:
        UsageError: nothing, or more than one model, is meant.
        StoreError: the file is damaged.
    """
    name, _, number = text.rpartition("@") if text.rpartition("@")[2].isdigit() else (text, "", "")
    if Path(name).suffix == ".h5" and Path(name).is_file():
        generations = read_generations(Path(name))
    else:
        known = known_baselines(baselines_dir, name)
        # What the site has learned itself is meant before what is shipped and never was here.
        own = [each for each in known if each[0].parent == baselines_dir.absolute()]
        exact = [each for each in known if each[1][0].model == name] or own or known
        models = {generations[0].model for _, generations in exact}
        if len(models) != 1:
            listed = ", ".join(sorted(models)) or "none"
            raise UsageError(f"{name!r} means {listed}.", "Give the name as 'baseline show' prints it, or a file.")
        generations = exact[0][1]
    index = int(number) if number else len(generations)
    if not 0 < index <= len(generations):
        raise UsageError(f"{name} has no generation {index}: there are {len(generations)}.", "hpcaccept baseline show")
    return replace(generations[index - 1], generation=index)


def upgrade(baselines_dir: Path, model: str = "") -> Iterable[str]:
    """Write files of an earlier format in today's; tells which.

    Raises:
        StoreError: a file is damaged.
    """
    import h5py

    files = sorted(baselines_dir.glob("*.h5"))
    for file in files:
        name = read_generations(file)[0].model
        if model.lower() not in name.lower():
            continue
        with h5py.File(file, "r", locking=False) as h5:
            version = int(h5.attrs["version"])
        change_file(file, name, lambda there: there)
        became = f" → {VERSION}" if version < VERSION else ", unchanged"
        yield f"{file}: {name}, format {version}{became}"
    if not files:
        raise StoreError(f"There is no baseline in {baselines_dir}.", "Name another folder with --baselines-dir.")
