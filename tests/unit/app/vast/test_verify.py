from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support.vast_cli import QUICK
from support.vast_server import KEY, Behaviour, Rule, VastServer, vast_server
from support.vast_tester import WrittenTester

from hpcaccept.app.vast import fleet as fleets
from hpcaccept.app.vast import journal as journals
from hpcaccept.app.vast import result_files, results, selection, verify
from hpcaccept.app.vast.caps import Caps, Purse
from hpcaccept.app.vast.session import Session
from hpcaccept.errors import RunError, UsageError
from hpcaccept.provider.vast import failures
from hpcaccept.provider.vast.requirements import read_set
from hpcaccept.store.one_writer import locked
from hpcaccept.transport import vast_api
from hpcaccept.transport.vast_api import VastApi

if TYPE_CHECKING:
    from hpcaccept.app.vast.results import Results

#: Real servers and clients, which wait for each other.
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[4]
SCHEMA = json.loads((ROOT / "docs" / "reference" / "vast-results.schema.json").read_text("utf-8"))
CAPS = Caps(max_usd=50.0, max_hours=2.0, load_s=60.0)


class Client:
    """One user with an account at the server of the test."""

    def __init__(self, server: VastServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.session = Session(VastApi(server.url, KEY, interval_s=0.0, sleep=lambda _: None))
        self.tester = WrittenTester()
        self.said: list[str] = []
        self.caps = CAPS
        self.pace = QUICK
        self.spent = 0.0
        self.run = "20261129t184500-0a1b2c3d"

    def verify(self, *machines: int, **caps: Any) -> Results:
        limits = dataclasses.replace(self.caps, **caps)
        offers, unreadable = selection.offers_of_machines(self.session, machines)
        planned = selection.plan(machines, offers, limits, "me/image:{cuda}", read_set("self-test"), 40.0, unreadable)
        order = verify.Order(
            planned, limits, "me/image:{cuda}", "self-test", self.folder, self.run, pace=self.pace, spent=self.spent
        )
        return verify.verify(self.session, order, self.tester, self.said.append)

    def code(self, machine: int = 11, **caps: Any) -> str:
        """Code of one machine; the account is empty of ours afterwards."""
        found = self.verify(machine, **caps)
        self.files(found)
        return found.machines[0].code

    def files(self, found: Results) -> None:
        """Every machine has exactly one line, the document keeps its schema, and the page has everybody."""
        passed = (self.folder / results.PASS_LOG).read_text().splitlines()
        failed = (self.folder / results.ERROR_LOG).read_text().splitlines()
        ids = [int(line) for line in passed] + [int(line.partition(":")[0]) for line in failed]
        assert sorted(ids) == sorted(each.machine for each in found.machines)
        assert all(re.fullmatch(r"\d+:(\d+|-) [a-z-]+ .+", line) for line in failed), failed
        document = json.loads((self.folder / results.RESULTS).read_text())
        jsonschema.validate(document, SCHEMA)
        page = (self.folder / results.PAGE).read_text()
        assert all(f'id="m{each.machine}"' in page for each in found.machines)


@pytest.fixture
def server() -> Iterator[VastServer]:
    with vast_server() as found:
        others = found.foreign(30) + found.foreign(1, None) + found.foreign(1, "hpcaccept-vast.like ours")
        yield found
        left = set(others) - set(found.instances)
        assert not left, f"others' instances were touched: {left}"
        assert found.accepted == []


@pytest.fixture
def client(server: VastServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(vast_api, "_FIRST_WAIT_S", 0.0)
    server.offer(11)
    return Client(server, tmp_path / "run")


# --- every code -------------------------------------------------------------------------------------------------------

Scene = Callable[[VastServer, Client], str]
SCENES: dict[str, Scene] = {}


def scene(code: str) -> Callable[[Scene], Scene]:
    """A way to come to a code."""

    def keep(found: Scene) -> Scene:
        assert code not in SCENES
        SCENES[code] = found
        return found

    return keep


def by_behaviour(code: str, **behaviour: Any) -> None:
    def found(server: VastServer, client: Client) -> str:
        server.behaviours[11] = Behaviour(**behaviour)
        return (
            client.code(load_s=1.0)
            if behaviour.get("status") == "loading" and "message" not in behaviour
            else client.code()
        )

    SCENES[code] = found


def by_offer(code: str, **changed: Any) -> None:
    def found(server: VastServer, client: Client) -> str:
        server.offer(11, **changed)
        return client.code()

    SCENES[code] = found


def by_answer(code: str, pattern: str, **answer: Any) -> None:
    def found(server: VastServer, client: Client) -> str:
        server.rules.append(Rule(pattern, times=100, **answer))
        return client.code()

    SCENES[code] = found


by_offer("requirement-missed", direct_port_count=1)
by_offer("requirement-unknown", pcie_bw=None)
by_offer("no-offer", rentable=False)
by_behaviour("load-timeout", status="loading")
by_behaviour("machine-offline", status="offline")
by_behaviour("container-exited", status="exited")
by_behaviour("instance-unknown", status="unknown")
by_behaviour(
    "docker-daemon", status="loading", message="Cannot connect to the Docker daemon at unix:///var/run/docker.sock"
)
by_behaviour(
    "oci-runtime",
    status="loading",
    message="Error response from daemon: OCI runtime create failed: nvidia-container-cli: device error",
)
by_behaviour("image-refused", status="loading", message="Unable to find image 'me/image:12.8' locally")
by_behaviour("disk-full", status="loading", message="Error: write /var/lib/docker: no space left on device")
by_behaviour("start-failed", status="loading", message="Error: something else")
by_behaviour("no-address", address="")
by_behaviour("port-not-mapped", ports=False)
by_behaviour("price-differs", dearer=1.5)
by_answer("offer-gone", "PUT .*asks", status=410, body={"success": False, "error": "no_such_ask", "msg": "gone"})
by_answer("create-refused", "PUT .*asks", status=400, body={"success": False, "error": "invalid_args", "msg": "no"})
by_answer("create-unanswered", "PUT .*asks", kind="unheard")
by_answer(
    "key-refused", "PUT .*asks", status=403, body={"success": False, "error": "not_authorized", "msg": "may not rent"}
)
by_answer("throttled", "PUT .*asks", status=429, body=b"later", headers={"Retry-After": "600"})
by_answer("quota-spent", "PUT .*asks", status=429, body={"success": False, "error": "search_quota_exceeded"})
#: What a tester says is passed on: each is a code of its own, and its way there is tested beside the standard tester.
OF_TESTERS = (
    "tester-unreachable", "wrong-certificate", "token-refused", "tester-form", "test-timeout", "gpus-missing", "gpus-differ", "memory-taken",
    "ram-short", "cores-short", "resnet-failed", "ecc-failed", "nccl-failed", "stress-failed", "burn-failed", "test-failed", "not-judged",
    "tester-crashed", "proof-wrong", "proof-forged", "proof-late", "proof-missing", "claim-refuted", "tester-silent",
)  # fmt: skip


@scene("no-image")
def _(server: VastServer, client: Client) -> str:
    server.offer(11, cuda_max_good=11.8, compute_cap=890)
    offers, _ = selection.offers_of_machines(client.session, [11])
    lowered = dataclasses.replace(offers[0], numbers={**offers[0].numbers, "cuda_max_good": 11.0})
    (planned,) = selection.plan(
        [11], [lowered], CAPS, "me/image:{cuda}", dataclasses.replace(read_set("self-test"), rules=()), 40.0
    )
    return planned.code


@scene("offer-unreadable")
def _(server: VastServer, client: Client) -> str:
    server.offer(11, dph_total="free")
    return client.code()


@scene("over-price")
def _(server: VastServer, client: Client) -> str:
    return client.code(max_price=0.5)


@scene("cap-money")
def _(server: VastServer, client: Client) -> str:
    return client.code(max_usd=0.01)


@scene("cap-hours")
def _(server: VastServer, client: Client) -> str:
    return client.code(max_hours=0.01)


@scene("api-silent")
def _(server: VastServer, client: Client) -> str:
    server.rules.append(Rule("GET /api/v1/instances", status=500, body=b"oops", times=60))
    client.pace = dataclasses.replace(QUICK, destroy_tries=100, destroy_wait_s=0.0)
    return client.code(load_s=0.3)


@scene("instance-vanished")
def _(server: VastServer, client: Client) -> str:
    server.behaviours[11] = Behaviour(dies_after_s=0.0, status_then="")
    return client.code()


@scene("price-increase")
def _(server: VastServer, client: Client) -> str:
    server.behaviours[11] = Behaviour(asks_more=True)
    server.rules.append(
        Rule("PUT .*reject-price-increase", status=400, body={"success": False, "error": "invalid_args"}, times=9)
    )
    client.tester.seconds = 3.0
    return client.code()


@scene("money-spent")
def _(server: VastServer, client: Client) -> str:
    server.usd_factor = 1e7
    client.tester.seconds = 5.0
    return client.code()


@scene("own-fault")
def _(server: VastServer, client: Client) -> str:
    client.tester.fault = ZeroDivisionError("of ours")
    return client.code()


@scene("destroy-unverified")
def _(server: VastServer, client: Client) -> str:
    server.stays = 1000
    found = client.code()
    server.stays = 0
    assert results.read(client.folder).left
    assert results.read(client.folder).exit_code == 3
    for identity in server.ours():
        del server.instances[identity]
    return found


@scene("interrupted")
def _(server: VastServer, client: Client) -> str:
    return results.of_journal([begun(11)]).machines[0].code


@scene("client-died")
def _(server: VastServer, client: Client) -> str:
    return results.of_journal([begun(11), line(journals.Renting(11, 7, "label", 0.5))]).machines[0].code


def begun(*machines: int) -> journals.Line:
    return line(
        journals.Begun("20261129t184500-0a1b2c3d", machines, "i", "self-test", 1.0, 1.0, None, 1.0, 1.0, 1.0, 1, 1)
    )


def line(entry: journals.Entry, at: float = 0.0) -> journals.Line:
    return journals.Line(dt.datetime(2026, 11, 29, tzinfo=dt.timezone.utc) + dt.timedelta(seconds=at), entry)


@pytest.mark.parametrize("code", sorted(failures.FAILURES))
def test_every_code_has_a_way_there(code: str, server: VastServer, client: Client) -> None:
    if code in OF_TESTERS:
        client.tester.codes[11] = code
        assert client.code() == code
    else:
        assert SCENES[code](server, client) == code
    assert server.ours() == []


def test_there_are_at_least_thirty_codes_each_with_a_sentence_and_a_remedy() -> None:
    assert len(failures.FAILURES) >= 30
    for each in failures.FAILURES.values():
        assert each.summary.endswith("."), each
        assert len(each.remedy) > 20, each
        assert each.outcome in ("failed", "refuted", "inconclusive")
    assert {"failed", "refuted", "inconclusive"} == {each.outcome for each in failures.FAILURES.values()}
    assert (ROOT / "docs" / "reference" / "vast-codes.md").read_text("utf-8") == failures.as_markdown(), (
        "hpcaccept vast codes > docs/reference/vast-codes.md"
    )


def test_time_outs_and_networks_accuse_nobody() -> None:
    for code in (
        "load-timeout",
        "test-timeout",
        "tester-unreachable",
        "tester-silent",
        "proof-late",
        "proof-missing",
        "wrong-certificate",
        "api-silent",
    ):
        assert failures.outcome_of(code) == "inconclusive"


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["verified", "verified"], 0),
        (["verified", "proof-wrong"], 1),
        (["load-timeout", "oci-runtime"], 1),
        (["verified", "load-timeout"], 3),
        (["something new"], 3),
        ([], 3),
    ],
)
def test_exit_codes_are_those_of_everywhere(codes: list[str], expected: int) -> None:
    assert failures.exit_code(codes) == expected


# --- the run ----------------------------------------------------------------------------------------------------------


def test_a_run_of_many_kinds_ends_with_one_line_for_each(server: VastServer, client: Client) -> None:
    for machine in (12, 13, 14):
        server.offer(machine)
    server.behaviours[12] = Behaviour(status="offline")
    client.tester.codes[13] = "proof-wrong"
    found = client.verify(11, 12, 13, 14, 99)
    client.files(found)
    assert found.codes == ["verified", "machine-offline", "proof-wrong", "verified", "no-offer"]
    assert (client.folder / results.PASS_LOG).read_text() == "11\n14\n"
    assert found.exit_code == 1
    assert json.loads((client.folder / "machines/13/transcript.json").read_text()) == {"machine": 13}
    assert server.ours() == []


def test_the_key_is_nowhere_but_in_the_header(server: VastServer, client: Client) -> None:
    client.verify(11)
    assert all(KEY not in json.dumps(body) for body in server.bodies)
    for file in client.folder.rglob("*"):
        assert not file.is_file() or KEY not in file.read_text("utf-8")
    assert KEY not in "".join(client.said)


def test_the_secret_of_a_rental_is_made_for_it_and_kept_nowhere(server: VastServer, client: Client) -> None:
    server.offer(12)
    client.verify(11, 12)
    first, second = client.tester.secrets
    assert first != second
    for file in client.folder.rglob("*"):
        assert not file.is_file() or first.hex() not in file.read_text("utf-8")


def test_what_a_run_leaves_is_its_owner_s(server: VastServer, client: Client) -> None:
    client.verify(11)
    assert client.folder.stat().st_mode & 0o777 == 0o700
    assert (client.folder / journals.NAME).stat().st_mode & 0o777 == 0o600
    assert (client.folder / "machines/11/transcript.json").stat().st_mode & 0o777 == 0o600


def test_the_journal_has_each_step_before_its_request(server: VastServer, client: Client) -> None:
    seen: list[tuple[str, str]] = []

    def look(_: int, method: str, path: str) -> None:
        if method in ("PUT", "DELETE") and "request_logs" not in path:
            seen.append((method, type(journals.read(client.folder)[-1].entry).__name__))

    server.on_request = look
    client.verify(11)
    assert seen == [("PUT", "Renting"), ("DELETE", "Destroying")]


def test_nothing_is_rented_when_the_journal_cannot_be_written(
    server: VastServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = journals.Journal.write

    def full(self: journals.Journal, entry: journals.Entry, at: dt.datetime) -> None:
        if isinstance(entry, journals.Renting):
            raise RunError("Cannot write journal.jsonl: No space left on device.")
        write(self, entry, at)

    monkeypatch.setattr(journals.Journal, "write", full)
    with pytest.raises(RunError, match="No space left"):
        client.verify(11)
    assert not [each for each in server.requests if each.startswith("PUT")]


@pytest.mark.parametrize("first", [journals.Rented, journals.Destroying, journals.Destroyed, journals.Decided])
def test_a_journal_that_cannot_be_written_leaves_nothing_rented(
    first: type[Any], server: VastServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = journals.Journal.write, False

    def written(self: journals.Journal, entry: journals.Entry, at: dt.datetime) -> None:
        nonlocal full
        full = full or isinstance(entry, first)
        if full:
            raise RunError("Cannot write journal.jsonl: No space left on device.")
        write(self, entry, at)

    monkeypatch.setattr(journals.Journal, "write", written)
    with pytest.raises(RunError, match="No space left"):
        client.verify(11)
    assert [each for each in server.requests if each.startswith("PUT /api/v0/asks/")]
    assert server.ours() == []


def test_a_creation_without_an_answer_is_found_by_its_label_and_goes_on(server: VastServer, client: Client) -> None:
    server.rules.append(Rule("PUT .*asks", kind="lost"))
    assert client.code() == "verified"
    assert server.ours() == []


def test_a_creation_that_comes_up_late_is_destroyed_all_the_same(server: VastServer, client: Client) -> None:
    server.rules.append(Rule("PUT .*asks", kind="lost"))
    server.list_late_s = 2.0
    server.offer(12)
    client.pace = dataclasses.replace(QUICK, create_s=0.0, listed_s=5.0)
    client.tester.seconds = 4.0
    # Whichever of the two was asked for first.
    assert sorted(client.verify(11, 12).codes) == ["create-unanswered", "verified"]
    assert server.ours() == []


def test_half_a_request_of_a_killed_client_makes_nothing(server: VastServer) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    head = "PUT /api/v0/asks/7000011/ HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(head.encode())
        line.shutdown(socket.SHUT_WR)
        assert line.recv(100) == b""
    assert (server.requests, server.unexpected, server.ours()) == ([], [], [])


def test_a_creation_that_made_two_instances_leaves_none(server: VastServer, client: Client) -> None:
    server.copies = 2
    assert client.code() == "verified"
    assert server.ours() == []
    assert len([each for each in server.requests if each.startswith("DELETE")]) == 2


def test_an_instance_that_is_listed_late_is_waited_for(server: VastServer, client: Client) -> None:
    server.list_late_s = 0.4
    assert client.code() == "verified"
    assert server.ours() == []


def test_an_answer_that_names_somebody_else_s_instance_ends_nobody_s(server: VastServer, client: Client) -> None:
    foreign = min(server.instances)
    server.rules.append(Rule("PUT .*asks", body={"success": True, "new_contract": foreign}))
    client.verify(11)
    assert foreign in server.instances
    assert not [each for each in server.requests if each.startswith("DELETE")]


def test_a_404_with_an_auth_error_does_not_count_as_gone(server: VastServer, client: Client) -> None:
    bad = {"success": False, "error": "auth_error", "msg": "Invalid user key"}
    server.rules.append(Rule("DELETE", status=404, body=bad, times=3))
    assert client.code() == "verified"
    assert len([each for each in server.requests if each.startswith("DELETE")]) == 4
    assert server.ours() == []


def test_a_destruction_that_says_success_and_does_nothing_is_repeated(server: VastServer, client: Client) -> None:
    server.stays = 3
    assert client.code() == "verified"
    assert server.ours() == []


def test_price_increases_of_ours_are_rejected_and_others_left_alone(server: VastServer, client: Client) -> None:
    theirs = min(server.instances)
    server.ask_more(theirs)
    server.behaviours[11] = Behaviour(asks_more=True)
    client.tester.seconds = 1.0
    assert client.code() == "verified"
    assert len(server.rejected) == 1
    assert [row["contract_id"] for row in server.pending.values()] == [theirs]
    assert results.read(client.folder).rejected == 1


def test_an_increase_that_is_over_already_is_no_error(server: VastServer, client: Client) -> None:
    server.behaviours[11] = Behaviour(asks_more=True)
    server.rules.append(
        Rule("PUT .*reject", status=404, body={"success": False, "error": "no_pending_price_increase"}, times=9)
    )
    client.tester.seconds = 1.0
    assert client.code() == "verified"


def test_a_machine_that_dies_during_its_tests_is_not_waited_for(server: VastServer, client: Client) -> None:
    server.behaviours[11] = Behaviour(dies_after_s=0.2)
    client.tester.seconds = 30.0
    began = time.monotonic()
    assert client.code() == "machine-offline"
    assert time.monotonic() - began < 25


def test_the_account_s_own_charges_count_where_they_are_higher(server: VastServer, client: Client) -> None:
    server.charges = dict.fromkeys(range(900_000, 901_000), 3.5)
    client.tester.seconds = 0.8
    found = client.verify(11)
    assert found.machines[0].usd == pytest.approx(3.5)
    assert found.usd == pytest.approx(3.5)


def test_charges_of_others_do_not_count(server: VastServer, client: Client) -> None:
    server.charges = dict.fromkeys(server.instances, 1000.0)
    client.tester.seconds = 0.8
    assert client.code() == "verified"


def test_money_that_others_may_give_back_is_waited_for(server: VastServer, client: Client) -> None:
    for machine in range(12, 17):
        server.offer(machine)
    # Each may cost 0.14 USD: two at once, though twenty may.
    found = client.verify(*range(11, 17), max_usd=0.33, load_s=100.0, test_s=100.0)
    assert client.tester.side_by_side <= 2
    assert server.most_rented <= 2
    assert found.count("verified") + found.codes.count("cap-money") == 6
    assert found.usd <= 0.33


def test_a_purse_gives_no_more_than_it_has() -> None:
    purse, stop = Purse(10.0, 4.0), threading.Event()
    assert purse.set_aside(1, 5.0, stop)
    assert not purse.set_aside(2, 6.5, stop), "it will never fit"
    purse.rented(1, 77)
    purse.charged({77: 2.0})
    assert purse.give_back(1, 1.0) == 2.0, "the account's charge is higher"
    assert purse.spent == 6.0
    purse.charged({77: 1.0})
    assert purse.spent == 6.0, "a charge never goes down"
    assert purse.set_aside(3, 4.0, stop)
    stop.set()
    assert not purse.set_aside(4, 0.1, stop)


def test_a_cap_of_hours_that_no_rental_fits_is_refused() -> None:
    with pytest.raises(UsageError, match="one rental may take 2660 s"):
        verify.check_caps(Caps(max_usd=1.0, max_hours=0.5))


def test_two_clients_never_work_on_one_run(server: VastServer, client: Client) -> None:
    with locked(client.folder / "lock", "another client"), pytest.raises(RunError, match="another client"):
        client.verify(11)
    assert not [each for each in server.requests if each.startswith("PUT")]


def test_a_resumed_run_tries_what_says_nothing_of_the_machine(server: VastServer, client: Client) -> None:
    server.offer(12)
    client.tester.codes[12] = "oci-runtime"
    journal = journals.Journal(client.folder)
    client.folder.mkdir()
    journal.write(begun(11, 12, 13).entry, dt.datetime.now(dt.timezone.utc))
    journal.write(journals.Decided(12, "oci-runtime"), dt.datetime.now(dt.timezone.utc))
    journal.write(journals.Decided(13, "cap-money"), dt.datetime.now(dt.timezone.utc))
    found, again, spent = verify.resumed(client.session, client.folder, client.said.append)
    assert (again, spent) == ([11, 13], 0.0)
    assert found.exit_code == 1


def test_what_killed_clients_have_cost_counts_for_the_cap() -> None:
    rented = [begun(11), line(journals.Renting(11, 7, "label", 3.6), 100.0)]
    now = line(journals.Ended(0.0, False), 1100.0).at
    assert verify.unfinished_usd(rented, now, True) == pytest.approx(1.0)
    assert verify.unfinished_usd(rented, now, False) == 0.0, "the account's charges tell"
    guarded = [*rented, line(journals.Destroyed(0, (77,), 0.0, 0.0), 600.0)]
    assert verify.unfinished_usd(guarded, now, False) == pytest.approx(0.5)
    assert verify.unfinished_usd([*guarded, line(journals.Destroyed(0, (), 0.0, 0.5), 700.0)], now, False) == 0.0, (
        "counted once"
    )
    ended = [
        *rented,
        line(journals.Destroyed(11, (77,), 500.0, 0.5), 600.0),
        line(journals.Destroyed(0, (), 0.0, 0.0), 601.0),
    ]
    assert verify.unfinished_usd(ended, now, False) == 0.0, "its own line has it"


def test_a_resumed_run_counts_what_the_account_was_charged_for_a_rental_that_nobody_counted(
    server: VastServer, client: Client
) -> None:
    client.folder.mkdir()
    journal, now = journals.Journal(client.folder), dt.datetime.now(dt.timezone.utc)
    for entry in (begun(11).entry, journals.Renting(11, 7, "label", 1.0), journals.Rented(11, 5_000_001)):
        journal.write(entry, now)
    server.gone[5_000_001] = {"dph_total": 1.0, "start_date": time.time(), "_born": 0.0, "_died": 0.0}
    server.charges[5_000_001] = 1.25
    for _ in range(2):
        found, again, spent = verify.resumed(client.session, client.folder, client.said.append)
        assert (again, spent) == ([11], 1.25), found
    assert results.read(client.folder).usd == 1.25


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    journal = journals.Journal(tmp_path)
    now = dt.datetime.now(dt.timezone.utc)
    journal.write(begun(11).entry, now)
    with (tmp_path / journals.NAME).open("ab") as out:
        out.write(b'{"at":"2026-11-29T00:00:00+00:00","kind":"dec')
    journal.write(journals.Decided(11, "verified"), now)
    assert [type(each.entry) for each in journals.read(tmp_path)] == [journals.Begun, journals.Decided]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for content in (None, "", "not JSON\n"):
        if content is not None:
            (tmp_path / journals.NAME).write_text(content)
        with pytest.raises(UsageError):
            journals.read(tmp_path)


def test_text_of_a_machine_is_harmless_in_every_file(server: VastServer, client: Client) -> None:
    evil = "\x1b[31m<script>alert(1)</script>\n99999\nDONE"
    client.tester.lines = (evil,)
    client.tester.codes[11] = "tester-form"
    judge = client.tester.judge

    def evil_judge(*args: Any) -> Any:
        return dataclasses.replace(judge(*args), text=evil, claimed={evil: evil})

    client.tester.judge = evil_judge  # type: ignore[method-assign, assignment]
    client.verify(11)
    for name in (results.PASS_LOG, results.ERROR_LOG, results.PAGE, "machines/11/progress.log"):
        text = (client.folder / name).read_text()
        assert "\x1b" not in text
        assert name != results.PAGE or "<script" not in text
    assert len((client.folder / results.ERROR_LOG).read_text().splitlines()) == 1


def test_a_machine_cannot_fill_our_memory_with_lines(server: VastServer, client: Client) -> None:
    client.tester.lines = ("x" * 10_000,) * 5000
    client.verify(11)
    assert (client.folder / "machines/11/progress.log").stat().st_size < 1_000_000


@pytest.mark.slow
def test_five_hundred_offers_twenty_at_once(server: VastServer, client: Client) -> None:
    for machine in range(1000, 1500):
        server.offer(machine, dlperf=float(machine))
    found, refused = selection.unverified(client.session)
    assert (len(found), refused) == (501, [])
    machines = [each.machine_id for each in found[:60]]
    assert machines[0] == 1499
    client.tester.meet = threading.Barrier(20)
    ended = client.verify(*machines)
    assert ended.count("verified") == 60
    assert client.tester.side_by_side == 20
    assert server.most_rented <= 20
    assert server.ours() == []
    listings = sum(each.startswith("GET /api/v1/instances") for each in server.requests)
    # Listings are shared: at most twenty pages of two a second, and what each destruction looks at.
    assert listings / 60 < 20, listings


def test_pages_and_documents_are_written_again_from_the_journal(server: VastServer, client: Client) -> None:
    client.verify(11)
    before = {
        name: (client.folder / name).read_bytes()
        for name in (results.PASS_LOG, results.ERROR_LOG, results.RESULTS, results.PAGE)
    }
    for name in before:
        (client.folder / name).unlink()
    result_files.write(client.folder, results.read(client.folder))
    assert {name: (client.folder / name).read_bytes() for name in before} == before


def test_the_pace_of_the_command_line_is_gentle() -> None:
    assert fleets.PACE.poll_s >= 5
    assert fleets.PACE.money_s <= 60
