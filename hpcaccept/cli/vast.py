"""``hpcaccept vast``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcaccept.cli.finite import FiniteRange
from hpcaccept.cli.vast_audit import audit

if TYPE_CHECKING:
    from hpcaccept.app.vast.caps import Caps
    from hpcaccept.app.vast.removal import Ours
    from hpcaccept.app.vast.results import Results
    from hpcaccept.app.vast.selection import Planned
    from hpcaccept.app.vast.session import Session
    from hpcaccept.app.vast.tester import Tester

F = TypeVar("F", bound=Callable[..., Any])

_key = click.option(
    "--key-file",
    default="",
    metavar="FILE",
    help="File with the key, mode 0600.  [default: VAST_API_KEY, then the official client's file]",
)
_json = click.option("--json", "as_json", is_flag=True, help="For programs.")
_requirements = click.option(
    "--requirements",
    "set_name",
    default="self-test",
    show_default=True,
    metavar="NAME",
    help="Requirements: self-test, verification-page, vastverification, or a .toml file.",
)


@click.group()
def vast() -> None:
    """Rented machines (Vast.ai): find, check, rent, test and destroy them, under a cap of money and hours.

    What a machine says is a claim. Nothing is rented without --yes, and only what carries a label of hpcaccept is ever destroyed.
    """


def _session(key_file: str) -> Session:
    from hpcaccept.app.vast.session import open_session

    return open_session(key_file)


def _say(text: str) -> None:
    from hpcaccept.report.printable import safe

    click.echo(safe(text))


def _complain(text: str) -> None:
    from hpcaccept.report.printable import safe

    click.echo(safe(text), err=True)


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=1, ensure_ascii=False))


@vast.command()
@click.argument("query", nargs=-1)
@click.option(
    "--order",
    default="dlperf-",
    show_default=True,
    metavar="FIELDS",
    help="FIELD or FIELD- (descending), several by commas.",
)
@click.option("--limit", type=click.IntRange(1, 65_535), default=20, show_default=True, help="Offers to show.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(("ondemand", "bid", "reserved")),
    default="ondemand",
    show_default=True,
    help="Kind of rental that prices are of.",
)
@_json
@_key
def search(query: tuple[str, ...], order: str, limit: int, kind: str, as_json: bool, key_file: str) -> int:
    """List offers that meet a QUERY: FIELD OPERATOR VALUE …, quoted as one word.

    Operators: = != > >= < <= in notin. Memory in GB, duration in days, network in Mb/s; FIELD=any removes a filter. Unless the query names
    them, verified=true external=false rentable=true rented=false hold. hpcaccept vast fields lists the fields.

    \b
    Example:
      hpcaccept vast search 'cuda_vers>=12.4 verified=any gpu_ram>7 geolocation in [SE,NO]'
    """
    from hpcaccept.app.vast.search import as_plain, table
    from hpcaccept.provider.vast.fields import order_of
    from hpcaccept.provider.vast.query import parse_query

    filters, by = parse_query(" ".join(query)), order_of(order)
    found, refused = _session(key_file).offers(filters, by, limit, kind)
    if as_json:
        _print_json(as_plain(found, refused))
        return 0
    for line in table(found) if found else ():
        _say(line)
    if not found:
        _say("No offer meets the query.")
    for each in refused:
        _complain(f"Left out, not an offer: {each}")
    return 0


@vast.command()
def fields() -> None:
    """List the fields that a query may name, with their units."""
    from hpcaccept.provider.vast.fields import FIELDS

    for each in FIELDS.values():
        click.echo(f"{each.name:20} {each.kind:8} {each.about}")


@vast.command()
@_key
def query(key_file: str) -> None:
    """Build a query by answering questions, and print the command that uses it.

    With a premium, the cheapest offer is looked up, and the price limited to so many percent above it.
    """
    import shlex

    from hpcaccept.app.vast.build_query import build, prompt_of_this_terminal
    from hpcaccept.errors import RunError
    from hpcaccept.provider.vast.query import parse_query

    text, premium = build(prompt_of_this_terminal(_complain))
    if premium is not None:
        found, _ = _session(key_file).offers(parse_query(text), [["dph_total", "asc"]], 1)
        if not found:
            raise RunError(
                "No offer meets the query, so there is no cheapest one.", f"hpcaccept vast search {shlex.quote(text)}"
            )
        most = found[0].usd_per_hour * (1 + premium)
        _complain(f"cheapest: {found[0].usd_per_hour:.4f} USD/h; with {premium:.0%} more: {most:.4f}")
        text = " ".join(part for part in text.split(" ") if not part.startswith("dph<="))
        text = f"{text} dph<={most:.6g}".strip()
    _say(f"hpcaccept vast search {shlex.quote(text)} --order dph")


@vast.command()
@click.argument("machine", type=click.IntRange(1))
@_requirements
@_json
@_key
def check(machine: int, set_name: str, as_json: bool, key_file: str) -> int:
    """Hold a MACHINE's listing to requirements, and to what its renters measured. Nothing is rented.

    Published requirements disagree: the default is that of the official self-test. Exit code 1: one is missed; 3: one could not be judged.
    """
    from hpcaccept.app.vast import check as checking
    from hpcaccept.provider.vast.requirements import read_set

    requirements = read_set(set_name)
    checked = checking.check(_session(key_file), machine, requirements)
    if as_json:
        _print_json(checking.as_plain(checked, requirements))
    else:
        for line in checking.lines(checked, requirements):
            _say(line)
    return checked.exit_code


def _caps(command: F) -> F:
    """What a client may spend, and the limits of one rental."""
    for option in (
        _json,
        _key,
        click.option("-y", "--yes", is_flag=True, help="Rent. Without it, what would be rented is shown."),
        click.option(
            "--folder", type=click.Path(path_type=Path), metavar="DIR", help="Of the run.  [default: vast-runs/RUN]"
        ),
        click.option(
            "--disk",
            "disk_gb",
            type=FiniteRange(8, 2000),
            default=40.0,
            show_default=True,
            metavar="GB",
            help="Disk of an instance.",
        ),
        _requirements,
        click.option(
            "--image",
            envvar="HPCACCEPT_VAST_IMAGE",
            default="",
            metavar="REF",
            help="Image with hpcaccept; {cuda} stands for 12.8 and the like.  [env: HPCACCEPT_VAST_IMAGE; default: one of PyTorch's, to which hpcaccept is sent]",
        ),
        click.option(
            "--suite",
            default="rented",
            show_default=True,
            metavar="SUITE",
            help="Suite that runs on each machine; a .toml file is sent there.",
        ),
        click.option(
            "--at-once",
            type=click.IntRange(1, 100),
            default=20,
            show_default=True,
            metavar="K",
            help="Rentals side by side.",
        ),
        click.option(
            "--silence",
            "silence_s",
            type=FiniteRange(1),
            default=120.0,
            show_default=True,
            metavar="S",
            help="Longest time without an answer of the tester.",
        ),
        click.option(
            "--test-timeout",
            "test_s",
            type=FiniteRange(1),
            default=300.0,
            show_default=True,
            metavar="S",
            help="Seconds for the tests.",
        ),
        click.option(
            "--load-timeout",
            "load_s",
            type=FiniteRange(1),
            default=2000.0,
            show_default=True,
            metavar="S",
            help="Seconds until the image runs.",
        ),
        click.option(
            "--max-price",
            type=FiniteRange(min=0, min_open=True),
            metavar="USD",
            help="Leave out offers above this price per hour.",
        ),
        click.option(
            "--max-usd",
            type=FiniteRange(min=0, min_open=True),
            metavar="USD",
            help="Most that the run may cost; held to the account's charges.",
        ),
        click.option(
            "--max-hours",
            type=FiniteRange(min=0, min_open=True, max=720),
            metavar="H",
            help="Hours after which everything is destroyed.",
        ),
    ):
        command = option(command)
    return command


@vast.command()
@click.argument("machines", nargs=-1, type=click.IntRange(1), metavar="MACHINE…")
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with a run that was interrupted or killed."
)
@_caps
def verify(machines: tuple[int, ...], resume: Path | None, **options: Any) -> int:
    """Rent MACHINES, have each tested and challenged, destroy each, and say what became of it.

    A dry run unless --yes stands with --max-usd and --max-hours. ^C destroys what is rented first; should this client be killed, its guard does.
    Exit code 0: all verified; 1: one failed or was refuted; 3: anything else.

    \b
    Example:
      hpcaccept vast verify 4711 4712 --max-usd 2 --max-hours 2 --yes
    """
    from hpcaccept.app.vast.selection import offers_of_machines
    from hpcaccept.errors import UsageError

    if bool(machines) == bool(resume):
        raise UsageError(
            "Name machines, or a run to --resume; not both.", "hpcaccept vast verify 4711 --max-usd 2 --max-hours 2"
        )
    session = _session(options["key_file"])
    if resume:
        return _resumed(session, resume, options)
    wanted = list(dict.fromkeys(machines))
    return _verified(session, wanted, *offers_of_machines(session, wanted), options)


@vast.command()
@click.option(
    "--query", "text", default="", metavar="QUERY", help="Machines to try.  [default: that of VastVerification]"
)
@click.option("--most", type=click.IntRange(1), default=None, metavar="N", help="Only the N strongest machines.")
@_caps
def autoverify(text: str, most: int | None, **options: Any) -> int:
    """Like verify, for every machine that is free and not verified yet; the strongest first.

    \b
    Example:
      hpcaccept vast autoverify --most 10 --max-usd 20 --max-hours 3 --yes
    """
    from hpcaccept.app.vast.selection import UNVERIFIED, unverified

    session = _session(options["key_file"])
    found, refused = unverified(session, text or UNVERIFIED)
    for line in refused:
        _complain(f"Left out, not an offer: {line}")
    found = found[:most]
    if not found:
        _say("No machine meets the query, is free, and is not verified yet: nothing was judged.")
        return 3
    return _verified(session, [each.machine_id for each in found], found, (), options)


def _verified(
    session: Session, machines: Sequence[int], offers: Sequence[Any], unreadable: Sequence[Any], options: dict[str, Any]
) -> int:
    from hpcaccept.app.vast import standard_tester
    from hpcaccept.app.vast import verify as verifying
    from hpcaccept.app.vast.selection import plan
    from hpcaccept.provider.vast.requirements import read_set

    caps = _caps_of(options)
    tester = standard_tester.standard_tester(options["suite"], deliver=not options["image"])
    requirements = read_set(options["set_name"])
    planned = plan(machines, offers, caps, options["image"], requirements, options["disk_gb"], unreadable)
    if not options["yes"]:
        return _dry_run(planned, caps, options)
    run = verifying.new_run()
    folder = options["folder"] or verifying.RUNS / run
    order = verifying.Order(planned, caps, _image_name(options), requirements.name, folder, run, options["disk_gb"])
    return _carried_out(session, order, tester, options)


def _resumed(session: Session, folder: Path, options: dict[str, Any]) -> int:
    from hpcaccept.app.vast import standard_tester
    from hpcaccept.app.vast import verify as verifying
    from hpcaccept.app.vast.selection import offers_of_machines, plan
    from hpcaccept.provider.vast.requirements import read_set

    caps = _caps_of(options)
    tester = standard_tester.standard_tester(options["suite"], deliver=not options["image"])
    requirements = read_set(options["set_name"])
    if not options["yes"]:
        from hpcaccept.app.vast import results as resulting

        found = resulting.read(folder)
        again = [each.machine for each in found.machines if each.code in verifying.AGAIN]
        _say(
            f"run {found.begun.run}: {len(again)} of {len(found.machines)} machines would be tried again: {', '.join(map(str, again))}"
        )
        return 3
    found, again, spent = verifying.resumed(session, folder, _say)
    offers, unreadable = offers_of_machines(session, again) if again else ([], [])
    planned = plan(again, offers, caps, options["image"], requirements, options["disk_gb"], unreadable)
    order = verifying.Order(
        planned, caps, _image_name(options), requirements.name, folder, found.begun.run, options["disk_gb"], spent=spent
    )
    return _carried_out(session, order, tester, options)


def _image_name(options: dict[str, Any]) -> str:
    from hpcaccept.provider.vast.images import PUBLISHED_NAME

    return options["image"] or PUBLISHED_NAME


def _caps_of(options: dict[str, Any]) -> Caps:
    from hpcaccept.app.vast.caps import Caps
    from hpcaccept.app.vast.verify import check_caps
    from hpcaccept.errors import UsageError

    if options["yes"]:
        missing = [f"--{name.replace('_', '-')}" for name in ("max_usd", "max_hours") if options[name] is None]
        if missing:
            raise UsageError(f"--yes rents machines and needs {', '.join(missing)}.", "Without --yes it is a dry run.")
    caps = Caps(
        options["max_usd"] or float("inf"), options["max_hours"] or 720.0, options["max_price"], options["load_s"], options["test_s"],
        options["silence_s"], options["at_once"],
    )  # fmt: skip
    check_caps(caps)
    return caps


def _dry_run(planned: Sequence[Planned], caps: Caps, options: dict[str, Any]) -> int:
    from hpcaccept.app.vast.verify import most_usd

    if options["as_json"]:
        rows = [
            {"machine": p.machine, "offer": p.offer.id if p.offer else None, "usd_per_hour": p.offer.usd_per_hour if p.offer else None,
             "image": p.image, "usd_at_most": p.usd, "code": p.code, "found": p.text}
            for p in planned
        ]  # fmt: skip
        _print_json({"dry_run": True, "machines": rows, "usd_at_most": most_usd(planned)})
        return 3
    for each in planned:
        offer = each.offer
        what = f"{offer.num_gpus} x {offer.gpu_name}, {offer.usd_per_hour:.4f} USD/h" if offer else "no offer"
        fate = (
            f"not rented [{each.code}]: {each.text}"
            if each.code
            else f"offer {offer.id if offer else '-'}, {each.image}, at most {each.usd:.4f} USD"
        )
        _say(f"machine {each.machine}: {what}; {fate}")
    would = sum(not each.code for each in planned)
    _say(
        f"Dry run: {would} of {len(planned)} machines would be rented, {caps.at_once} at once, for at most {most_usd(planned):.4f} USD in all."
    )
    _say("Add --yes with --max-usd and --max-hours to rent them.")
    return 3


def _carried_out(session: Session, order: Any, tester: Tester, options: dict[str, Any]) -> int:
    from hpcaccept.app.vast import guard as guarding
    from hpcaccept.app.vast import results as resulting
    from hpcaccept.app.vast import session as sessions
    from hpcaccept.app.vast.verify import verify as carry_out

    say = _complain if options["as_json"] else _say
    server, key = sessions.place_and_key(options["key_file"])
    results = carry_out(
        session,
        order,
        tester,
        say,
        lambda: guarding.post(order.folder, order.run, server, key),
    )
    if options["as_json"]:
        _print_json(resulting.as_plain(results))
    else:
        _summary(results, order.folder)
    return results.exit_code


def _summary(results: Results, folder: Path) -> None:
    from hpcaccept.app.vast.results import ERROR_LOG, PAGE, PASS_LOG
    from hpcaccept.provider.vast.failures import OUTCOMES

    counts = ", ".join(f"{results.count(each)} {each}" for each in OUTCOMES if results.count(each))
    _say(f"{len(results.machines)} machines: {counts or 'none'}; {results.usd:.4f} USD.")
    _say(f"{folder}: {PASS_LOG}, {ERROR_LOG}, {PAGE}")
    if results.left:
        _say(
            f"MAY BE BILLED: instances {', '.join(str(each) if each else 'of unknown number' for each in results.left)}."
        )
        _say(f"  → hpcaccept vast reap --run {results.begun.run} --yes")


@vast.command()
@_json
@_key
def status(as_json: bool, key_file: str) -> int:
    """List what hpcaccept has rented, by its label, whatever became of the client. Exit code 3: there is something."""
    from hpcaccept.app.vast.removal import ours
    from hpcaccept.app.vast.session import now

    found = ours(_session(key_file))
    if as_json:
        _print_json([_plain_of(each) for each in found])
    for each in found if not as_json else ():
        late = " EXPIRED" if each.expired(now()) else ""
        price = f"{each.instance.usd_per_hour:.4f} USD/h" if each.instance.usd_per_hour is not None else "price unknown"
        _say(
            f"instance {each.instance.id}  machine {each.machine}  run {each.run}  {each.instance.status or 'created'}  {price}  until {each.until:%Y-%m-%d %H:%M:%S}{late}"
        )
    if not found and not as_json:
        _say("Nothing of hpcaccept is rented.")
    return 3 if found else 0


def _plain_of(each: Ours) -> dict[str, Any]:
    return {
        "instance": each.instance.id,
        "machine": each.machine,
        "run": each.run,
        "status": each.instance.status,
        "usd_per_hour": each.instance.usd_per_hour,
        "until": each.until.isoformat(),
    }


@vast.command()
@click.option(
    "--run", default="", metavar="RUN", help="Everything of this run.  [default: what is past its time, of any run]"
)
@click.option("--all", "everything", is_flag=True, help="Everything that carries a label of hpcaccept.")
@click.option("-y", "--yes", is_flag=True, help="Destroy it. Without it, what would be destroyed is shown.")
@_key
def reap(run: str, everything: bool, yes: bool, key_file: str) -> int:
    """Destroy what a client of hpcaccept has left rented; a whole list of the account must show that it is gone.

    Without --run or --all only what is past the time in its label: another client may be at work.
    """
    from hpcaccept.app.vast.removal import ours, remove
    from hpcaccept.app.vast.session import now
    from hpcaccept.errors import RunError

    session, at = _session(key_file), now()

    def wanted(each: Ours) -> bool:
        return everything or (each.run == run if run else each.expired(at))

    found = [each for each in ours(session) if wanted(each)]
    for each in found:
        _say(f"instance {each.instance.id}  machine {each.machine}  run {each.run}")
    if not yes:
        _say(f"{len(found)} would be destroyed: add --yes." if found else "There is nothing to destroy.")
        return 3 if found else 0
    removed = remove(session, wanted)
    if removed.left or removed.why:
        which = ", ".join(map(str, removed.left)) or "of unknown number"
        raise RunError(
            f"Instances {which} could not be destroyed: {removed.why}. They may be billed.",
            "See https://cloud.vast.ai/instances.",
        )
    _say(f"{len(removed.gone)} destroyed; a whole list of the account shows nothing of it.")
    return 0


@vast.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_json
def report(folder: Path, as_json: bool) -> int:
    """Write the logs, results.json and the page of a run FOLDER again, from its journal; machines of a killed client are in them too."""
    from hpcaccept.app.vast import result_files
    from hpcaccept.app.vast import results as resulting

    found = resulting.read(folder)
    result_files.write(folder, found)
    if as_json:
        _print_json(resulting.as_plain(found))
    else:
        _summary(found, folder)
    return found.exit_code


@vast.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=None, metavar="FILE", help="[default: RUN.tar.gz here]"
)
def bundle(folder: Path, output: Path | None) -> None:
    """Pack a run FOLDER for support: without secrets, and with people, hosts and addresses replaced."""
    from hpcaccept.app.vast.support import pack

    file = output or Path(f"{folder.resolve().name}.tar.gz")
    for line in pack(folder, file):
        _say(line)


@vast.command()
def codes() -> None:
    """Print docs/reference/vast-codes.md: every reason why a machine is not verified."""
    from hpcaccept.provider.vast.failures import as_markdown

    click.echo(as_markdown(), nl=False)


@vast.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("run")
@click.argument("server")
def guard(folder: Path, run: str, server: str) -> None:
    """Wait for the end of the client that writes to standard input, and remove what it has rented."""
    import signal

    from hpcaccept.app.vast.guard import stand

    # A terminal that closes, and whoever ends the client in order, do not end its guard.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stand(folder, run, server, sys.stdin.buffer, _say)


vast.add_command(audit)
