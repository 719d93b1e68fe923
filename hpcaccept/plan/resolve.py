"""The meaning of a suite file: its tables → Suite; every mistake named with file, key and the nearest valid name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from typing import TYPE_CHECKING, Any

from hpcaccept import checks
from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.metric import Limit
from hpcaccept.model.metric_key import MetricKey, check_of
from hpcaccept.model.parameter import parameters
from hpcaccept.model.suite import CheckSpec, PeerRule, Suite
from hpcaccept.plan.override import overridden

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.config.suites import SuiteText
    from hpcaccept.plan.override import Origins

_TOP = ("about", "baseline", "checks", "limits", "peers")
#: Of a deadline: 30 days.
_LONGEST_S = 30 * 24 * 3600
#: Keys of a check's table that are not parameters of the check.
_OF_EVERY_CHECK = ("deadline_s", "enabled", "required")


def resolve_suite(text: SuiteText, overrides: Sequence[SuiteText] = ()) -> Suite:
    """The suite that a file describes, with a site's overrides over it.

    Raises:
        UsageError: an unknown table, check, parameter, metric or unit, or a value of the wrong kind; of an override also
            where the suite has no such check.
    """
    _only(text.tables, _TOP, str(text.file), "key")
    _tables(text)
    for override in overrides:
        _validate(override)
    text, origins = overridden(text, overrides)
    place, tables = str(text.file), text.tables
    specs = tuple(
        replace(_check(name, table, place), origins=_foreign("checks", name, table, place, origins))
        for name, table in tables["checks"].items()
        if _switch(table, "enabled", f"{place}: [checks.{name}]")
    )
    if not specs:
        raise UsageError(f"{place} has no check.", "Add one, like [checks.identity]; 'hpcaccept checks' lists them.")
    baseline = tables.get("baseline", "optional")
    if baseline not in ("required", "optional"):
        raise UsageError(f"{place}: baseline is {baseline!r}, expected 'required' or 'optional'.")
    return Suite(
        name=text.file.stem,
        about=str(tables.get("about", "")),
        checks=specs,
        limits=_limits_of_layers(_of_present(tables["limits"], tables["checks"], specs), specs, place, origins),
        baseline=baseline,
        peers=_peers(tables["peers"], place),
        source=place,
        peer_origins=_foreign("peers", "", tables["peers"], place, origins),
    )


def _tables(text: SuiteText) -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, Any]]:
    """The checks and the limits of a file, every table seen to be one."""
    place = str(text.file)
    both = []
    for kind in ("checks", "limits"):
        named = _table(text.tables.get(kind, {}), f"{place}: [{kind}]")
        both.append({name: _table(table, f"{place}: {_header(kind, name)}") for name, table in named.items()})
    _table(text.tables.get("peers", {}), f"{place}: [peers]")
    return both[0], both[1]


def _header(kind: str, name: str) -> str:
    return f"[{kind}.{name}]" if kind == "checks" else f'[{kind}."{name}"]'


def _validate(override: SuiteText) -> None:
    """An override is right or wrong by itself, whatever suite it will meet."""
    place = str(override.file)
    named, limits = _tables(override)
    for name, table in named.items():
        _check(name, table, place)
        _switch(table, "enabled", f"{place}: [checks.{name}]")
    _peers(override.tables.get("peers", {}), place)
    for key, table in limits.items():
        where = f'{place}: [limits."{key}"]'
        try:
            parts = MetricKey.parse(key)
        except ValueError as fault:
            raise UsageError(f"{where}: {fault}.") from None
        if not checks.exists(parts.check):
            raise UsageError(f"{where}: there is no check {parts.check_name!r}.", nearest(parts.check, checks.names()))
        _limits({key: table}, (CheckSpec(parts.check_name),), place)


def _of_present(limits: Mapping[str, Any], named: Mapping[str, Any], specs: tuple[CheckSpec, ...]) -> dict[str, Any]:
    """Without the limits of checks that are switched off: those match nothing on purpose."""
    off = set(named) - {spec.name for spec in specs}
    return {key: table for key, table in limits.items() if not any(key.startswith(f"{name}.") for name in off)}


def _check(name: str, table: Mapping[str, Any], place: str) -> CheckSpec:
    where = f"{place}: [checks.{name}]"
    if not checks.exists(name):
        raise UsageError(f"{where}: there is no check {name!r}.", nearest(name, checks.names()))
    if name.endswith(":"):
        raise UsageError(
            f"{where}: found no label after the colon.", f'Write it like [checks."{check_of(name)}:small"].'
        )
    known = {f.name for f in fields(checks.load(name))}
    _only(table, (*_OF_EVERY_CHECK, *known), where, "key")
    params = {key: value for key, value in table.items() if key in known}
    duration_s = getattr(checks.build(name, params, where), "duration_s", 0.0)
    deadline_s = table.get("deadline_s", CheckSpec(name).deadline_s)
    if not _is_number(deadline_s) or not 0 < deadline_s <= _LONGEST_S:
        raise UsageError(
            f"{where}: deadline_s is {deadline_s!r}, expected seconds above 0, at most {_LONGEST_S}.",
            f"Without it the deadline is {CheckSpec(name).deadline_s:g} s.",
        )
    if duration_s >= deadline_s:
        raise UsageError(
            f"{where}: duration_s is {duration_s:g}, which its deadline_s of {deadline_s:g} would cut short.",
            f"Give it time: --set {name}.deadline_s={math.ceil(1.2 * duration_s + 300)}",
        )
    required = _switch(table, "required", where)
    return CheckSpec(name, params, float(deadline_s), required, checks.origin(name), variants_of(name, params))


def variants_of(name: str, params: dict[str, Any]) -> tuple[str, ...]:
    """What the check is asked for one by one, whether the suite says it or the default does."""
    built = checks.build(name, params)
    listed = [parameter.name for parameter in parameters(type(built)).values() if parameter.bounds.variants]
    return tuple(variant for field in listed for variant in getattr(built, field))


def _is_number(value: object) -> bool:
    """True for what can be compared and counted with: NaN would pass every bound, and neither it nor infinity is whole."""
    # An int may be too large for math.isfinite.
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _switch(table: Mapping[str, Any], key: str, where: str) -> bool:
    value = table.get(key, True)
    if not isinstance(value, bool):
        raise UsageError(f"{where}: {key} is {value!r}, expected true or false.")
    return value


def _peers(table: Mapping[str, Any], place: str) -> PeerRule:
    where = f"{place}: [peers]"
    _only(table, [f.name for f in fields(PeerRule)], where, "key")
    values: dict[str, Any] = {}
    for field in fields(PeerRule):
        if field.name in table:
            value = table[field.name]
            default = None if field.default is MISSING else field.default
            if not (isinstance(value, bool) if isinstance(default, bool) else _is_number(value)):
                raise UsageError(f"{where}: {field.name} is {value!r}, expected a value like {default!r}.")
            values[field.name] = value
    rule = PeerRule(**values)
    if not 0 < rule.false_alarm_rate < 1:
        raise UsageError(f"{where}: false_alarm_rate is {rule.false_alarm_rate}, expected a share between 0 and 1.")
    if rule.min_subjects != int(rule.min_subjects) or rule.min_subjects < 3:
        # A unit alone is its own median, and of two nobody can say which one is slow: all of them would pass.
        raise UsageError(f"{where}: min_subjects is {rule.min_subjects}, expected a whole number of at least 3.")
    if rule.retests != int(rule.retests) or rule.retests < 0:
        raise UsageError(f"{where}: retests is {rule.retests}, expected a whole number of at least 0.")
    for name, floor in (("floor", rule.floor), ("shared_host_floor", rule.shared_host_floor)):
        if floor is not None and not 0 <= floor < 1:
            raise UsageError(f"{where}: {name} is {floor}, expected a share from 0 to below 1.")
    return rule


def _foreign(kind: str, name: str, table: Mapping[str, Any], place: str, origins: Origins) -> dict[str, str]:
    """Key → the place that has set it, where that is another than the suite's own file."""
    return {key: origin for key in table if (origin := origins[kind, name, key]) != place}


def _limits_of_layers(
    table: Mapping[str, Any], specs: tuple[CheckSpec, ...], place: str, origins: Origins
) -> dict[str, Limit]:
    """The limits, each with the file that it stands in; those of other files than the suite's are the site's."""
    found: dict[str, Limit] = {}
    for key, values in table.items():
        written = next((origins["limits", key, name] for name in values if ("limits", key, name) in origins), place)
        limit = _limits({key: values}, specs, written)[key]
        found[key] = limit if written == place else replace(limit, origin="site")
    return found


def _limits(table: Mapping[str, Any], specs: tuple[CheckSpec, ...], place: str) -> dict[str, Limit]:
    catalogue = checks.catalogue(spec.name for spec in specs)
    known = [f"{check}.{metric}" for check, metrics in catalogue.items() for metric in metrics]
    limits = {}
    for key, values in table.items():
        where = f'{place}: [limits."{key}"]'
        try:
            parts = MetricKey.parse(key)
        except ValueError as fault:
            raise UsageError(f"{where}: {fault}.", f'Write it like [limits."{known[0]}"].') from None
        if (bare := str(parts.bare)) not in known:
            raise UsageError(f"{where}: no check of this suite measures it.", nearest(bare, known))
        limits[key] = _limit(_table(values, where), catalogue[parts.check_name][parts.metric].unit, where)
    return limits


def _limit(table: Mapping[str, Any], unit: str, where: str) -> Limit:
    _only(table, ("lower", "upper", "unit", "source"), where, "key")
    if table.get("unit") != unit:
        raise UsageError(f"{where}: unit is {table.get('unit')!r}, the metric is in {unit!r}.", f'Add unit = "{unit}".')
    bounds = {}
    for side in ("lower", "upper"):
        value = table.get(side)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise UsageError(f"{where}: {side} is {value!r}, expected a number in {unit}.")
        bounds[side] = None if value is None else float(value)
    try:
        return Limit(bounds["lower"], bounds["upper"], unit, "suite", str(table.get("source", where)))
    except ValueError as fault:
        raise UsageError(f"{where}: {fault}.") from None


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} is {value!r}, expected a table.")
    return value


def _only(table: Mapping[str, Any], known: Any, where: str, what: str) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{where}: unknown {what} {key!r}.", nearest(key, known))
