"""What every check, format, container runtime and launcher promises, as functions that a package's own tests call.

::

    from hpcaccept.testing import assert_check_contract
    from site_checks import clock_step

    def test_it_keeps_what_every_check_promises() -> None:
        assert_check_contract(clock_step)

The tests of hpcaccept call the same functions for what it brings itself. Each raises ``AssertionError`` with a sentence that
names what was found and what was expected.
"""

from __future__ import annotations

import inspect
import math
import os
import subprocess
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from hpcaccept import checks, container, launch
from hpcaccept.errors import UsageError
from hpcaccept.model.check import Check
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.parameter import parameters
from hpcaccept.report import formats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from hpcaccept.model.parameter import Parameter

#: What only the nodes have: a module of the login side that imports it would not start there.
_HEAVY = ("mpi4py", "pynvml", "torch", "torchvision")


def assert_check_contract(module: ModuleType) -> None:
    """Hold the module of a check to everything that a check promises.

    Raises:
        AssertionError: it breaks a promise.
    """
    kind = checks.the_check_of(module)
    _expect(kind.name in _names(module), f"{module.__name__} holds the check {kind.name!r}, expected {_names(module)}")
    assert_described(kind)
    assert_parameters_declared(kind)
    assert_numbers_bounded(kind)
    assert_shorter_forms_fit(kind)
    assert_metrics_named(kind)
    assert_limits_explained(kind)
    assert_peers_compare_rates(kind)
    assert_something_judged(kind)
    assert_light(module)


def assert_format_contract(module: ModuleType) -> None:
    """Hold the module of a report format to ``hpcaccept.report.formats.Format``."""
    _assert_provides(module, formats.Format)
    assert_light(module)


def assert_container_contract(module: ModuleType) -> None:
    """Hold the module of a container runtime, completed by the defaults, to ``hpcaccept.container.Container``."""
    _assert_provides(container.complete(module), container.Container)
    assert_light(module)


def assert_launcher_contract(module: ModuleType) -> None:
    """Hold the module of a launcher to ``hpcaccept.launch.Launcher``."""
    _assert_provides(module, launch.Launcher)
    assert_light(module)


def assert_described(kind: type[Check]) -> None:
    """A check says what it is: in one line of ``hpcaccept checks``, and in a manual of its own."""
    _expect(kind.revision >= 1, f"{kind.name}: revision is {kind.revision}, expected at least 1")
    _expect(
        kind.about.endswith("."), f"{kind.name}: 'about' is {kind.about!r}, expected one sentence with its full stop"
    )
    _expect(len(kind.about) <= 110, f"{kind.name}: 'about' has {len(kind.about)} characters, expected at most 110")
    _expect("\n" not in kind.about, f"{kind.name}: 'about' has several lines, expected one")
    _expect(inspect.getdoc(kind) != inspect.getdoc(Check), f"{kind.name}: the class has no docstring, its manual")
    _expect(kind.scope in ("device", "world"), f"{kind.name}: scope is {kind.scope!r}, expected 'device' or 'world'")


def assert_parameters_declared(kind: type[Check]) -> None:
    """Each parameter has a default of a plain kind, and is explained in the manual."""
    manual = inspect.getdoc(kind) or ""
    for field in fields(kind):
        plain = isinstance(field.default, (int, float, str, bool, tuple))
        _expect(plain, f"{kind.name}.{field.name}: expected a default that is a number, a text, a bool or a tuple")
        _expect(field.name in manual, f"{kind.name}.{field.name} is not in the manual, expected it under 'Parameters:'")


def assert_numbers_bounded(kind: type[Check]) -> None:
    """Each number has bounds on both sides, and what lies beyond them is refused when the check is built."""
    for parameter in parameters(kind).values():
        name = f"{kind.name}.{parameter.name}"
        if parameter.is_number:
            _expect(parameter.bounds.closed, f"{name} is a number without bounds: param(…, at_least=…, at_most=…)")
        for value in beyond(parameter):
            _expect(_refused(parameter, value), f"{name} takes {value!r}, expected {parameter.bounds}")


def assert_shorter_forms_fit(kind: type[Check]) -> None:
    """A shorter form sets parameters that the check takes, saves time, and says what it does not see; the cheapest stands first."""
    for form in kind.shorter:
        name = f"{kind.name}.shorter {dict(form.params)}"
        for key, value in form.params.items():
            known = parameters(kind).get(key)
            fits = known is not None and not _refused(known, value)
            _expect(fits, f"{name}: {key} = {value!r}, expected a parameter of the check within its bounds")
        _expect(0 < form.share < 1, f"{name}: share is {form.share}, expected above 0, below 1")
        _expect(
            bool(form.unseen) and form.unseen[-1] != ".",
            f"{name}: unseen is {form.unseen!r}, expected the end of a sentence",
        )
    shares = [form.share for form in kind.shorter]
    _expect(
        shares == sorted(shares),
        f"{kind.name}: its shorter forms take {shares} of its time, expected the cheapest first",
    )


def beyond(parameter: Parameter) -> Iterator[Any]:
    """Values of the right kind that are not allowed; a list of one for a list."""
    for value in _beyond(parameter):
        yield [value] if parameter.is_list else value


def _beyond(parameter: Parameter) -> Iterator[Any]:
    bounds = parameter.bounds
    if parameter.kind is float:
        yield from (math.nan, math.inf, -math.inf)
    if parameter.is_number and bounds.one_of:
        yield max(bounds.one_of) + 1
    elif parameter.is_number:
        yield from (bound for bound in (bounds.above, bounds.below) if bound is not None)
        yield from (
            parameter.kind(end + step) for end, step in ((bounds.at_least, -1), (bounds.at_most, 1)) if end is not None
        )
    elif parameter.kind is str and (bounds.one_of or bounds.matching):
        yield "\0"


def _refused(parameter: Parameter, value: Any) -> bool:
    try:
        parameter.fitted(value, "", "")
    except UsageError:
        return True
    return False


def assert_metrics_named(kind: type[Check]) -> None:
    """Each metric has a name of its own, a unit, a sentence, and a key that comes apart again."""
    names = [metric.name for metric in kind.metrics]
    _expect(len(set(names)) == len(names), f"{kind.name}: metrics are called {names}, expected each name once")
    for metric in kind.metrics:
        key = f"{kind.name}.{metric.name}"
        _expect(
            MetricKey.parse(f"{key}[x]") == MetricKey(kind.name, "", metric.name, "x"),
            f"{key}[x] does not come apart as a key",
        )
        _expect(metric.help.endswith("."), f"{key}: help is {metric.help!r}, expected a sentence with its full stop")
        _expect(bool(metric.unit), f"{key} has no unit")


def assert_limits_explained(kind: type[Check]) -> None:
    """A limit is in the unit of its metric, says where it comes from, and is met by the worst repeat."""
    for metric in kind.metrics:
        if not metric.limit:
            continue
        key, limit = f"{kind.name}.{metric.name}", metric.limit
        _expect(limit.unit == metric.unit, f"{key} is in {metric.unit!r}, its limit in {limit.unit!r}")
        _expect(limit.origin == "built-in", f"{key}: origin of the limit is {limit.origin!r}, expected 'built-in'")
        _expect(bool(limit.source), f"{key}: the limit does not say where it comes from")
        worst = metric.statistic != "best" or metric.name == "lost_share"
        _expect(
            worst, f"{key} has a limit and the statistic 'best', expected 'worst' or 'median': the worst repeat counts"
        )


def assert_peers_compare_rates(kind: type[Check]) -> None:
    """What is judged against peers is a rate of a device or node."""
    for metric in kind.metrics:
        if metric.peer_floor is not None:
            key = f"{kind.name}.{metric.name}"
            _expect(metric.is_rate, f"{key} has a peer_floor, expected no limit and a direction")
            _expect(metric.scope != "world", f"{key} has a peer_floor and the scope 'world', which has no peers")
            _expect(
                0 < metric.peer_floor < 0.5, f"{key}: peer_floor is {metric.peer_floor}, expected above 0, below 0.5"
            )


def assert_something_judged(kind: type[Check]) -> None:
    """Something of the check can be judged: numbers that nothing judges could only ever be shown."""
    judged = any(m.limit or m.peer_floor is not None or (m.is_rate and m.scope == "world") for m in kind.metrics)
    _expect(judged, f"{kind.name}: no metric has a limit or a peer_floor")


def assert_light(module: ModuleType) -> None:
    """Importing the module imports nothing that only the nodes have."""
    program = f"import sys, {module.__name__}; print(*sorted({set(_HEAVY)!r} & set(sys.modules)))"
    path = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=path)
    _expect(
        not done.stdout.strip(), f"{module.__name__} imports {done.stdout.strip()}, expected that inside a function"
    )


def _names(module: ModuleType) -> tuple[str, ...]:
    """What its check must be called: as its file, or as the entry points that name it."""
    named = tuple(plugin.name for plugin in checks.KIND.plugins() if plugin.module == module.__name__)
    return named or (module.__name__.rpartition(".")[2],)


def _assert_provides(module: Any, protocol: type) -> None:
    """The module has what the protocol names, and its functions take what the protocol's take."""
    for name, member in vars(protocol).items():
        if name.startswith("_") or not callable(member):
            continue
        mine = getattr(module, name, None)
        _expect(callable(mine), f"{module.__name__} has no function {name!r}, expected one as in {protocol.__name__}")
        wanted, found = _taken(member)[1:], _taken(mine)
        _expect(found == wanted, f"{module.__name__}.{name} takes {found}, expected {wanted}")
    for name in inspect.get_annotations(protocol):
        _expect(hasattr(module, name), f"{module.__name__} has no {name!r}, expected one as in {protocol.__name__}")


def _taken(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
