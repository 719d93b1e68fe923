"""``hpcaccept azure``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcaccept.cli.finite import FiniteRange

if TYPE_CHECKING:
    from hpcaccept.app.azure.gather import Gathered
    from hpcaccept.app.azure.remote_run import Ended
    from hpcaccept.app.azure.session import Session
    from hpcaccept.provider.azure.config import Cluster
    from hpcaccept.provider.azure.nodes import Node
    from hpcaccept.provider.azure.prices import Estimate

F = TypeVar("F", bound=Callable[..., Any])


def _config(command: F) -> F:
    """``CONFIG`` and what replaces a part of it."""
    for option in (
        click.option(
            "--allow-ssh-from",
            multiple=True,
            metavar="CIDR",
            help="Range that may reach ssh, instead of those of the file; may be repeated.",
        ),
        click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG"),
    ):
        command = option(command)
    return command


def _cluster(config: Path, allow_ssh_from: tuple[str, ...]) -> Cluster:
    from hpcaccept.app.azure.render import load_cluster

    return load_cluster(config, allow_ssh_from)


@click.group()
def azure() -> None:
    """Azure: a GPU scale set from one file, looked after and removed.

    CONFIG is a TOML file (azure/h200-2-nodes.toml is one), or a .env file with the keys of basic-vmss-cluster.
    """


@azure.command()
@_config
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder for the files.  [default: the cluster's name]",
)
def render(config: Path, allow_ssh_from: tuple[str, ...], output: Path | None) -> None:
    """Write the files of a deployment: template.json, parameters.json, cloud-init.yaml.

    Nothing is sent anywhere, and nothing has to be installed. The same configuration gives the same bytes.

    \b
    Example:
      hpcaccept azure render azure/h200-2-nodes.toml --allow-ssh-from 203.0.113.7/32
    """
    import shlex

    from hpcaccept.app.azure.render import NO_KEY, render_cluster
    from hpcaccept.provider.azure.requests import DEPLOYMENT
    from hpcaccept.report.printable import safe
    from hpcaccept.store.replaced_files import replace_files

    cluster = _cluster(config, allow_ssh_from)
    rendered = render_cluster(cluster)
    folder = output or Path(cluster.name)
    replace_files(rendered.files, folder)
    for name in rendered.files:
        click.echo(safe(str(folder / name)))
    if rendered.parameters["parameters"]["sshPublicKey"]["value"] == NO_KEY:
        click.echo("parameters.json lacks sshPublicKey: set cluster.ssh_public_key, or write the key into the file.")
    click.echo("Review them, then deploy them with your own az:")
    group = ("az", "group", "create", "--name", cluster.resource_group, "--location", cluster.location)
    tag = ("--tags", f"hpcaccept-run={cluster.name}", 'hpcaccept-expires="$expires"')
    files = ("--template-file", str(folder / "template.json"), "--parameters", f"@{folder / 'parameters.json'}")
    called = ("--name", DEPLOYMENT, "--resource-group", cluster.resource_group)
    deploy = ("az", "deployment", "group", "create", *called, *files)
    click.echo("  expires=$(date -u -d '+4 hours' +%FT%TZ)")
    click.echo(f"  {safe(shlex.join((*group, *tag[:2])))} {tag[2]}")
    click.echo(f'  {safe(shlex.join(deploy))} expires="$expires"')


def _cloud(command: F) -> F:
    """``--cloud``."""
    from hpcaccept.provider.azure.requests import ENDPOINTS

    return click.option(
        "--cloud", type=click.Choice(tuple(ENDPOINTS)), default="public", show_default=True, help="Which Azure."
    )(command)


def _yes(command: F) -> F:
    """``--yes``."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def _folder(command: F) -> F:
    """``--folder``."""
    return click.option(
        "--folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Key, rendered files and host files.  [default: the cluster's name]",
    )(command)


def _say(text: str) -> None:
    from hpcaccept.report.printable import safe

    click.echo(safe(text))


def _agreed(question: str, yes: bool) -> bool:
    """True by ``--yes``, or by a person at a terminal.

    Raises:
        UsageError: nobody is there to ask.
    """
    from hpcaccept.errors import UsageError

    _say(question)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("Nobody is here to confirm it: standard input is not a terminal.", "Add --yes.")
    return click.confirm("Go on?")


@azure.command()
@_config
@click.option(
    "--max-hours",
    type=FiniteRange(min=0.1, max=720),
    required=True,
    metavar="H",
    help="Hours until the cluster expires: Azure then scales it to 0 nodes, and reap deletes it.",
)
@click.option("--no-wait", is_flag=True, help="Do not wait for cloud-init on the nodes.")
@click.option(
    "--ready-timeout",
    "ready_s",
    type=FiniteRange(min=1),
    default=2700.0,
    show_default=True,
    metavar="S",
    help="Seconds that the nodes have to set themselves up.",
)
@click.option("--max-cost", type=FiniteRange(min=0), metavar="USD", help="Refuse an estimate above this.")
@_folder
@_cloud
@_yes
def up(
    config: Path,
    allow_ssh_from: tuple[str, ...],
    max_hours: float,
    max_cost: float | None,
    no_wait: bool,
    ready_s: float,
    folder: Path | None,
    cloud: str,
    yes: bool,
) -> int:
    """Bring a cluster up; run it again to finish what was interrupted.

    Size, zone, quota, image and price are looked up before anything is made. The expiry counts from the first call.

    \b
    Example:
      hpcaccept azure up mine.toml --max-hours 4
    """
    from hpcaccept.app.azure.session import open_session
    from hpcaccept.app.azure.up import bring_up
    from hpcaccept.errors import RunError
    from hpcaccept.report.phrases import fold

    cluster = _cluster(config, allow_ssh_from)

    def confirm(estimate: Estimate, until: str) -> bool:
        if max_cost is not None and (estimate.usd is None or estimate.usd > max_cost):
            raise RunError(f"{estimate}; --max-cost allows {max_cost:,.2f} USD. Nothing was made.")
        return _agreed(f"{estimate}, until {until}", yes)

    session, place = open_session(cluster.subscription, cloud), folder or Path(cluster.name)
    found = bring_up(
        session,
        cluster,
        place,
        max_hours=max_hours,
        confirm=confirm,
        say=_say,
    )
    for name, size in found.wrong_size.items():
        _say(f"{name} is a {size}, expected {cluster.size}")
    _say(f"{len(found.nodes)} nodes are up: {fold(found.nodes)}")
    late = {} if no_wait else _wait(session, cluster, place, ready_s)
    for name, why in late.items():
        _say(f"{name} is not ready: {why}")
    return 3 if found.wrong_size or late else 0


def _wait(session: Session, cluster: Cluster, place: Path, ready_s: float) -> dict[str, str]:
    """Identify the nodes and wait until they are set up; gives those that are not, and why."""
    from hpcaccept.app.azure.hosts import refresh
    from hpcaccept.app.azure.ready import wait_ready

    found = refresh(session, cluster, place)
    names = [node.name for node in found.nodes if node.name not in found.unidentified]
    other = {
        node.name: f"it says that it is a {node.size}, expected {cluster.size}"
        for node in found.nodes
        if node.size and node.size.lower() != cluster.size.lower()
    }
    return {**found.unidentified, **other, **wait_ready(names, place / "ssh_config", ready_s, _say)}


@azure.command()
@click.option("--subscription", default="", metavar="ID", help="[default: AZURE_SUBSCRIPTION_ID]")
@_cloud
def status(subscription: str, cloud: str) -> int:
    """List every cluster of hpcaccept in a subscription, whatever became of who made it.

    Exit code 3 means that one has expired and is still there, or that not everything could be listed.
    """
    from hpcaccept.app.azure.session import open_session
    from hpcaccept.app.azure.status import line_of, standings

    session = open_session(subscription, cloud)
    with _unlisted("Clusters"):
        found = standings(session)
    for each in found:
        _say(line_of(each))
    if not found:
        _say("There is no cluster of hpcaccept in this subscription.")
    return 3 if any(each.expired or each.unread for each in found) else 0


@contextlib.contextmanager
def _unlisted(what: str) -> Iterator[None]:
    """A list that could not be read is not an empty one."""
    from hpcaccept.errors import HpcacceptError

    try:
        yield
    except HpcacceptError:
        _say(f"{what} of hpcaccept could not be listed: there may be some, and they may be billed.")
        raise


@azure.command()
@_config
@_cloud
@_yes
def down(config: Path, allow_ssh_from: tuple[str, ...], cloud: str, yes: bool) -> int:
    """Delete a cluster: what carries its tag and nothing else, verified by listing."""
    from hpcaccept.app.azure.down import take_down
    from hpcaccept.app.azure.session import open_session

    cluster = _cluster(config, allow_ssh_from)
    session = open_session(cluster.subscription, cloud)
    if not _agreed(f"Delete {cluster.name}: resource group {cluster.resource_group} and all that is in it", yes):
        return 3
    if take_down(session, cluster.resource_group, cluster.name, _say):
        _say(f"{cluster.name} is gone: a listing shows nothing with its tag.")
    else:
        _say(f"There is no {cluster.name}: a listing shows nothing with its tag.")
    return 0


@azure.command()
@click.option("--subscription", default="", metavar="ID", help="[default: AZURE_SUBSCRIPTION_ID]")
@_cloud
@_yes
def reap(subscription: str, cloud: str, yes: bool) -> int:
    """Delete the clusters that have expired; without --yes they are only listed.

    \b
    For cron:
      */15 * * * * AZURE_SUBSCRIPTION_ID=… hpcaccept azure reap --yes
    """
    from hpcaccept.app.azure import down as taking
    from hpcaccept.app.azure.session import open_session
    from hpcaccept.provider.azure.tags import written

    session = open_session(subscription, cloud)
    with _unlisted("Expired clusters"):
        found = taking.expired(session)
    if not yes:
        for each in found:
            _say(f"{each.name}: {each.mark.run} expired at {written(each.mark.expires) if each.mark.expires else '?'}")
        _say(f"{len(found)} expired; --yes deletes them." if found else "Nothing has expired.")
        return 0
    failed = taking.reap(session, found, _say)
    for name, why in failed.items():
        _say(f"{name} could not be deleted and may be billed: {why}")
    _say(f"{len(found) - len(failed)} of {len(found)} expired clusters deleted.")
    return 3 if failed else 0


@azure.command()
@_config
@_folder
@_cloud
def hosts(config: Path, allow_ssh_from: tuple[str, ...], folder: Path | None, cloud: str) -> int:
    """Write hostfile, hostfile-ip, physical-hosts, ssh_config and known_hosts of a cluster; again after VMs have changed.

    Host keys are asked of Azure's agent on each node, so that no first contact has to be believed.

    \b
    Example:
      hpcaccept azure hosts mine.toml && ssh -F h200/ssh_config head
    """
    from hpcaccept.app.azure.hosts import refresh
    from hpcaccept.app.azure.session import open_session

    cluster = _cluster(config, allow_ssh_from)
    place = folder or Path(cluster.name)
    found = refresh(open_session(cluster.subscription, cloud), cluster, place)
    for node in found.nodes:
        _say(f"{node.name}  {node.address}  port {node.port or '?'}  physical host {node.physical_host or 'unknown'}")
        if node.size and node.size.lower() != cluster.size.lower():
            _say(f"{node.name} says that it is a {node.size}, expected {cluster.size}")
    for name in found.gone:
        _say(f"{name} is gone")
    for name, why in found.unidentified.items():
        _say(f"{name} is not identified, and ssh refuses it: {why}")
    _say(f"{len(found.nodes)} nodes of {cluster.nodes}: {place / 'hostfile'}, {place / 'ssh_config'}")
    return 0 if len(found.nodes) == cluster.nodes and not found.unidentified else 3


def _report(found: Sequence[Gathered], asked: Collection[str], what: str) -> int:
    """Tell every node that failed, and one line for all; gives the exit code."""
    failed = [each for each in found if each.why]
    for each in failed:
        _say(f"{each.node}: {each.why}")
    missing = sorted(set(asked) - {each.node for each in found})
    for name in missing:
        _say(f"{name}: its host key is not known: hpcaccept azure hosts CONFIG")
    _say(f"{len(found) - len(failed)} of {len(asked)} nodes {what}")
    return 3 if failed or missing else 0


_DEADLINE = click.option(
    "--deadline",
    "deadline_s",
    type=FiniteRange(min=1),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Seconds for each node.",
)


@azure.command()
@_config
@_folder
@_DEADLINE
def keys(config: Path, allow_ssh_from: tuple[str, ...], folder: Path | None, deadline_s: float) -> int:
    """Let the nodes log in to each other, as MPI needs it, and put hostfile and hostfile-ip into their home folders.

    Each node makes a key pair of its own; no private key is copied. Run it again after VMs have changed (after hosts).
    """
    from hpcaccept.app.azure.hosts import read_nodes
    from hpcaccept.app.azure.node_keys import exchange
    from hpcaccept.errors import RunError

    place = folder or Path(_cluster(config, allow_ssh_from).name)
    nodes = read_nodes(place)
    known = [node for node in nodes if node.host_key and node.port]
    if not known:
        raise RunError(f"{place} has no node whose host key is known.", "hpcaccept azure hosts CONFIG")
    found = exchange(known, place / "ssh_config", deadline_s)
    return _report(found, [node.name for node in nodes], "log in to each other")


@azure.command()
@click.argument("config", type=click.Path(path_type=Path), required=False, metavar="[CONFIG]")
@click.argument("command", nargs=-1, metavar="[-- COMMAND…]")
@click.option("--file", "path", metavar="PATH", help="Gather this file of every node instead of a command's output.")
@click.option("--hostfile", type=click.Path(path_type=Path), metavar="FILE", help="Nodes, instead of CONFIG's.")
@click.option(
    "--ssh-config", type=click.Path(path_type=Path), metavar="FILE", help="With --hostfile.  [default: yours]"
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="One file for each node; else they are printed.",
)
@click.option("--sudo", is_flag=True, help="Read the file as root.")
@_folder
@_DEADLINE
def gather(
    config: Path | None,
    command: tuple[str, ...],
    path: str | None,
    hostfile: Path | None,
    ssh_config: Path | None,
    output: Path | None,
    sudo: bool,
    folder: Path | None,
    deadline_s: float,
) -> int:
    """Gather a file or a command's output from all nodes at once; each node that is late or dead is named.

    \b
    Examples:
      hpcaccept azure gather mine.toml --file /var/log/node-health.log -o health
      hpcaccept azure gather mine.toml -- nvidia-smi -L
      hpcaccept azure gather --hostfile hostfile --file /var/log/node-info.log -o info
    """
    import shlex

    from hpcaccept.app.azure import gather as gathering
    from hpcaccept.errors import UsageError

    if hostfile and config:  # without CONFIG the first word of the command stands in its place
        command, config = (str(config), *command), None
    if bool(path) == bool(command) or bool(hostfile) == bool(config):
        raise UsageError(
            "gather needs one source and one thing: CONFIG or --hostfile, and --file PATH or -- COMMAND.",
            "hpcaccept azure gather CONFIG --file /var/log/node-health.log -o DIR",
        )
    if config:
        place = folder or Path(_cluster(config, ()).name)
        hostfile, ssh_config = place / "hostfile", place / "ssh_config"
    assert hostfile
    names = gathering.read_hostfile(hostfile)
    wanted = gathering.command_for_file(path, sudo) if path else shlex.join(command)
    found = gathering.gather(names, wanted, config=ssh_config, deadline_s=deadline_s)
    if output:
        gathering.keep(found, output)
    else:
        for each in found:
            for line in each.output.decode("utf-8", "replace").splitlines():
                _say(f"{each.node}: {line}")
    return _report(found, names, f"answered{f', in {output}' if output else ''}")


@azure.command("simulate-eviction")
@_config
@click.argument("node", metavar="NODE")
@_folder
@_cloud
@_yes
def simulate_eviction(
    config: Path, node: str, allow_ssh_from: tuple[str, ...], folder: Path | None, cloud: str, yes: bool
) -> int:
    """Have Azure take a spot VM back, as a drill: what becomes of a run then?

    A node that is lost to an eviction is lost infrastructure and no failed node. Run hosts afterwards.
    """
    from hpcaccept.app.azure.hosts import read_nodes
    from hpcaccept.app.azure.report_host import node_called
    from hpcaccept.app.azure.session import open_session
    from hpcaccept.errors import UsageError
    from hpcaccept.provider.azure.requests import simulate_eviction as request

    cluster = _cluster(config, allow_ssh_from)
    if not cluster.spot.enabled:
        raise UsageError(f"{cluster.name} has no spot VMs.", "Set spot.enabled = true before hpcaccept azure up.")
    found = node_called(read_nodes(folder or Path(cluster.name)), node)
    if not _agreed(f"Azure evicts {node} ({cluster.spot.eviction}) within some minutes", yes):
        return 3
    open_session(cluster.subscription, cloud).send(request(found.vm), cluster)
    _say(f"The eviction of {node} was asked for. See who is left: hpcaccept azure hosts {config}")
    return 0


@azure.command("report-host")
@_config
@click.argument("node", metavar="NODE")
@click.option(
    "--category",
    default="",
    metavar="NAME",
    help="What is broken, such as HpcMissingGpu.  [default: what the last health found]",
)
@click.option(
    "--description",
    default="",
    metavar="TEXT",
    help="What was seen, in one sentence.  [default, without --category: the reason of the last health]",
)
@click.option("--begun", metavar="TIME", help="Since when, in UTC: 2026-11-29T12:00:00Z.  [default: now]")
@click.option(
    "--detail",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of the part: manufacturer, serial, model, location, log-url, uncorrectable.",
)
@click.option("--send", is_flag=True, help="Send it; otherwise it is only shown.")
@click.option(
    "--follow", type=click.Path(path_type=Path), metavar="FILE", help="Go on with a report that was written down."
)
@click.option(
    "--wait",
    "wait_s",
    type=FiniteRange(min=0),
    default=3600.0,
    show_default=True,
    metavar="S",
    help="Seconds for Azure's last answer.",
)
@_folder
@_cloud
@_yes
def report_host(
    config: Path,
    node: str,
    allow_ssh_from: tuple[str, ...],
    category: str,
    description: str,
    begun: str | None,
    detail: tuple[str, ...],
    send: bool,
    follow: Path | None,
    wait_s: float,
    folder: Path | None,
    cloud: str,
    yes: bool,
) -> int:
    """Report the machine below a node to Azure (Guest Health Report, preview), and follow it to Azure's last answer.

    Without --category it reports the fault that the last health found of this node. The body is shown first, and sent with --send only. The subscription must be enrolled, and you need the role Impact Reporter.

    \b
    Examples:
      hpcaccept azure health mine.toml && hpcaccept azure report-host mine.toml vm-000001
      hpcaccept azure report-host mine.toml vm-000001 --category HpcMissingGpu --description "7 of 8 GPUs"
    """
    from hpcaccept.app.azure import found_faults
    from hpcaccept.app.azure import report_host as reporting
    from hpcaccept.app.azure import session as sessions
    from hpcaccept.app.azure.hosts import read_nodes
    from hpcaccept.provider.azure.template import as_text

    cluster = _cluster(config, allow_ssh_from)
    place = folder or Path(cluster.name)
    if follow:
        report = reporting.read_report(follow)
    else:
        named = reporting.node_called(read_nodes(place), node)
        if not category:
            found = found_faults.fault_of(place, named, sessions.now())
            category, description = found.category, description or found.description
        body = _body(named, category, description, begun, detail)
        for line in as_text(body).splitlines():
            click.echo(line)
        if not send:
            _say("It was not sent: --send sends it.")
            return 0
        if not _agreed(
            f"Azure takes the machine below {node} out of service when it agrees; the VM is lost then.", yes
        ):
            return 3
        report = reporting.write_down(place, node, body)
    session = sessions.open_session(cluster.subscription, cloud)
    reporting.send(session, report)
    _say(f"sent as {report.identity}, kept in {report.file}")
    last = reporting.follow(session, report, wait_s, _say)
    if last is None:
        _say(
            f"Azure's last answer has not come yet: hpcaccept azure report-host {config} {node} --follow {report.file}"
        )
    return 0 if last and last.repaired else 3


def _body(node: Node, category: str, description: str, begun: str | None, detail: tuple[str, ...]) -> dict[str, Any]:
    from hpcaccept.app.azure.session import now
    from hpcaccept.errors import UsageError, nearest
    from hpcaccept.provider.azure.health_report import DETAILS, body_of
    from hpcaccept.provider.azure.tags import read_time

    since = read_time(begun) if begun else now()
    if since is None:
        raise UsageError(f"--begun: found {begun!r}, expected a time in UTC such as 2026-11-29T12:00:00Z.")
    details = {}
    for text in detail:
        key, equals, value = text.partition("=")
        if not equals or key not in DETAILS:
            raise UsageError(f"--detail: found {text!r}, expected KEY=VALUE. {nearest(key, DETAILS)}")
        details[key] = value
    if not description:
        raise UsageError("--description is missing: say in one sentence what was seen.")
    return body_of(node, category, description, since, now(), details)


def _run_options(of: str) -> Callable[[F], F]:
    """Where hpcaccept and the runs are on the nodes, and options of one of its commands."""

    def add(command: F) -> F:
        for option in (
            click.argument("words", nargs=-1, metavar=f"[-- OPTIONS of hpcaccept {of}]"),
            click.option(
                "--python",
                default="python3",
                show_default=True,
                metavar="PATH",
                help="Python with hpcaccept, on every node.",
            ),
            click.option(
                "--shared",
                required=True,
                metavar="DIR",
                help="Folder that all nodes see at this path; runs are kept there.",
            ),
        ):
            command = option(command)
        return command

    return add


@azure.command()
@_config
@click.option("-s", "--suite", default="", metavar="SUITE", help="A suite's name, or a .toml file here.")
@_run_options("submit")
@_folder
def submit(
    config: Path,
    allow_ssh_from: tuple[str, ...],
    suite: str,
    words: tuple[str, ...],
    python: str,
    shared: str,
    folder: Path | None,
) -> int:
    """Test the nodes of a cluster with a suite; the run then comes here, and the exit code is that of the run.

    Every node needs hpcaccept with its rank extra, Open MPI, and a folder that all of them see: what one lacks is told by name.

    \b
    Example:
      hpcaccept azure submit mine.toml --suite standard --shared /shared/runs --python /shared/hpcaccept/bin/python
    """
    from hpcaccept.app.azure import submit as submitting

    cluster, place, nodes = _ready_nodes(config, allow_ssh_from, folder)
    there, again = submitting.There(python, shared), _again(config, folder)
    return _come(submitting.submit(cluster, nodes, place / "ssh_config", place, there, suite, words, {}, again, _say))


@azure.command()
@_config
@_run_options("submit")
@_folder
def nccl(
    config: Path, allow_ssh_from: tuple[str, ...], words: tuple[str, ...], python: str, shared: str, folder: Path | None
) -> int:
    """Test what the nodes do together: the suite fabric, with the variables that NCCL needs on this VM size.

    Collectives over a sweep of sizes, links two nodes at a time, ib_write_bw, ports. Of two or more nodes whose InfiniBand speed is known (ND A100 v4, H100 v5,
    H200 v5), all-reduce and all-to-all of 1 GiB have lower limits that follow from it; NAME/nccl.toml is the suite with them.
    """
    from hpcaccept.app.azure import submit as submitting

    cluster, place, nodes = _ready_nodes(config, allow_ssh_from, folder)
    there, again = submitting.There(python, shared), _again(config, folder)
    suite, environment = submitting.nccl_suite(cluster, place), submitting.nccl_environment(cluster)
    return _come(
        submitting.submit(cluster, nodes, place / "ssh_config", place, there, suite, words, environment, again, _say)
    )


@azure.command()
@_config
@click.option(
    "--run", default="", metavar="RUN", help="Start from what this run of azure submit or azure isolate has shown."
)
@_run_options("isolate")
@_folder
def isolate(
    config: Path,
    allow_ssh_from: tuple[str, ...],
    run: str,
    words: tuple[str, ...],
    python: str,
    shared: str,
    folder: Path | None,
) -> int:
    """Find out whose fault it is, over the nodes of a cluster; the answer then comes here, and the exit code is its own.

    What is asked (--check, --command, --budget, --until …) are options of hpcaccept isolate, behind --.

    \b
    Example:
      hpcaccept azure isolate mine.toml --shared /shared/runs --python /shared/hpcaccept/bin/python -- --check allreduce
    """
    from hpcaccept.app.azure import submit as submitting

    cluster, place, nodes = _ready_nodes(config, allow_ssh_from, folder)
    there, again = submitting.There(python, shared), _again(config, folder)
    return _come(submitting.isolate(cluster, nodes, place / "ssh_config", place, there, run, words, again, _say))


@azure.command()
@_config
@click.option(
    "--node",
    default="",
    metavar="NAME",
    help="Node that is asked, where the one that the run was begun on is gone: what it has left is judged.",
)
@_folder
def wait(config: Path, allow_ssh_from: tuple[str, ...], node: str, folder: Path | None) -> int:
    """Come back to a run of submit, nccl or isolate whose connection was lost or whose client was killed, and bring it here.

    The exit code is that of the run, as if it had never been left.
    """
    from hpcaccept.app.azure import remote_run
    from hpcaccept.app.azure.hosts import read_nodes
    from hpcaccept.app.azure.report_host import node_called

    place = folder or Path(_cluster(config, allow_ssh_from).name)
    if node:
        node_called(read_nodes(place), node)
    return _come(remote_run.come_back(place / "ssh_config", place, _again(config, folder), _say, node))


def _ready_nodes(
    config: Path, allow_ssh_from: tuple[str, ...], folder: Path | None
) -> tuple[Cluster, Path, Sequence[Node]]:
    """The cluster, its folder, and all of its nodes.

    Raises:
        RunError: fewer are known than were asked for, or one is not identified: who is left out here would be in no report.
    """
    from hpcaccept.app.azure.hosts import read_nodes
    from hpcaccept.errors import RunError

    cluster = _cluster(config, allow_ssh_from)
    place = folder or Path(cluster.name)
    nodes = read_nodes(place)
    unknown = [node.name for node in nodes if not (node.host_key and node.port)]
    if unknown or len(nodes) != cluster.nodes:
        found = (
            f"{', '.join(unknown)} is not identified"
            if unknown
            else f"{len(nodes)} nodes are known, expected {cluster.nodes}"
        )
        raise RunError(f"{place}: {found}.", f"hpcaccept azure hosts {config}")
    return cluster, place, nodes


def _again(config: Path, folder: Path | None) -> str:
    """What comes back to a run."""
    import shlex

    more = ["--folder", str(folder)] if folder else []
    return shlex.join(["hpcaccept", "azure", "wait", str(config), *more])


def _come(done: Ended) -> int:
    if done.folder:
        _say(f"Here: {done.folder}; again with: hpcaccept report --runs-dir {done.folder.parent} {done.folder.name}")
    return done.code


@azure.command()
@_config
@_folder
@_DEADLINE
def health(config: Path, allow_ssh_from: tuple[str, ...], folder: Path | None, deadline_s: float) -> int:
    """Judge what AzNHC, healthagent and dcgmi left on the nodes: one table, one verdict for each node.

    Logs are judged here; what a status file says can only make it worse. A node that did not answer is in the table. The verdicts are kept in the
    cluster's folder, so that report-host can take a node's fault from there.
    """
    from hpcaccept.app.azure import found_faults, node_health
    from hpcaccept.app.azure import gather as gathering
    from hpcaccept.app.azure.hosts import read_nodes
    from hpcaccept.app.azure.session import now
    from hpcaccept.errors import RunError

    cluster = _cluster(config, allow_ssh_from)
    place = folder or Path(cluster.name)
    names = gathering.read_hostfile(place / "hostfile")
    found = gathering.gather(names, node_health.gather_command(), config=place / "ssh_config", deadline_s=deadline_s)
    files = {each.node: node_health.unpack(each.output, each.why) for each in found}
    judged = node_health.judge_nodes(files, gpus=cluster.gpus, now=now())
    try:
        found_faults.keep(place, judged, read_nodes(place), now())
    except RunError as fault:  # the verdicts hold all the same
        _say(f"The verdicts could not be kept for report-host. {fault.message}")
    for line in node_health.as_table(judged).splitlines():
        click.echo(line)
    if len(names) == cluster.nodes:
        return judged.exit_code
    _say(f"{place / 'hostfile'} has {len(names)} nodes, expected {cluster.nodes}: hpcaccept azure hosts {config}")
    return judged.exit_code or 3
