"""A bundle tells a vendor everything about one fault and nothing about the site: planted secrets do not survive."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.finished_runs import gpu_run

from hpcaccept.app.azure.report_host import write_down
from hpcaccept.app.bundle.pack import Extras, fault_named, make_bundle
from hpcaccept.cli import main
from hpcaccept.errors import UsageError
from hpcaccept.report.redact import Redactor

if TYPE_CHECKING:
    from pathlib import Path

PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\nbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n-----END OPENSSH PRIVATE KEY-----"
#: What stands in an output → what must not survive.
PLANTED = {
    "HF_TOKEN=hf_AbCdEfGhIjKlMnOpQrSt": "hf_AbCdEfGhIjKlMnOpQrSt",
    "export WANDB_API_KEY='0123456789abcdef0123456789abcdef01234567'": "0123456789abcdef0123456789abcdef01234567",
    '{"password": "p4ss w0rd,with}signs"}': "p4ss w0rd",
    '"{\\"secret\\": \\"inner-quoted\\"}"': "inner-quoted",
    "Authorization: Bearer abc.DEF-123456789": "abc.DEF-123456789",
    "curl -H 'authorization: Basic dXNlcjpwYXNz'": "dXNlcjpwYXNz",
    "--registry-token abc123": "abc123",
    "https://ann:hunter2@registry.example.com/x": "hunter2",
    "https://hooks.example.com/services?sig=T0PS3CRET": "T0PS3CRET",
    "git clone https://ghp_0123456789abcdefghijABCDEFGHIJ@github.com/x": "ghp_0123456789abcdefghijABCDEFGHIJ",
    "AKIAIOSFODNN7EXAMPLE": "AKIAIOSFODNN7EXAMPLE",
    "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "eyJzdWIiOiIxIn0",
    "key: Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MEFCQ0RFRkdISUo": "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MEFCQ0RFRkdISUo",
    PEM: "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE",
    "torn -----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA": "MIIEowIBAAKCAQEA",
    "cd /home/annette/runs": "annette",
    "/lustre/home/bernd.b/x.log": "bernd.b",
    "uid=1000(carola) gid=1000(carola)": "carola",
    "mail ops-team@site.example.org": "ops-team@site",
    "inet 10.41.7.13/16": "10.41.7.13",
    "peer fd12:3456:789a::13 up": "fd12:3456:789a::13",
    "link/ether 9c:63:c0:aa:bb:01 brd": "9c:63:c0:aa:bb:01",
    "srun: node1: task 3: Killed": "node1",
    "connecting to NODE1-ib0": "NODE1",
    "see log_node3.txt": "node3",
    "srun -w node[0-3] hostname": "node[0-3]",
    "host-node3.cluster.site.example": "cluster.site",
    "slurmctld.hpc.internal": "slurmctld.hpc",
}


def redactor(**more: bool) -> Redactor:
    hosts = [f"node{i}" for i in range(4)] + [f"host-node{i}" for i in range(4)]
    return Redactor(["node2"], hosts, ["dagmar"], **more)


@pytest.mark.parametrize(("text", "secret"), PLANTED.items())
def test_what_must_not_leave_the_site_does_not(text: str, secret: str) -> None:
    one = redactor()
    assert secret.lower() not in one.text(f"before {text} after").lower()
    assert sum(one.counts.values()) > 0


@pytest.mark.parametrize(
    "text",
    [
        "GPU-5f0ab1c2-1234-5678-9abc-def012345678 at 0000:3b:00.0, serial 1650123456789",
        "driver 580.95.05, kernel 6.1.0-40-amd64, vbios 96.00.99.00.01",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus on node2 at 02:00:13",
        "2026-11-22T01:00:00.000+00:00 matmul.rate_flops[bf16] 7.9e14",
        "tcp://127.0.0.1:29500",
        "node20 and xnode1 are no names of this run",
    ],
)
def test_what_a_vendor_needs_stays(text: str) -> None:
    assert redactor().text(text) == text


def test_the_same_thing_is_the_same_word() -> None:
    one = redactor()
    first, again = one.text("node0 10.0.0.7 dagmar"), one.text("node0.site.example 10.0.0.7 /home/dagmar/x")
    assert first == "node-5 address-1 user-1"
    assert again == "node-5 address-1 /home/user-1/x"


def test_names_are_kept_when_asked_for_and_nothing_else() -> None:
    text = redactor(keep_names=True).text("node1 10.0.0.7 token=abc")
    assert text == "node1 address-1 token=[secret]"


letters = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/.-_!#%", min_size=12, max_size=60)


@given(
    secret=letters,
    name=st.sampled_from(["MY_TOKEN", "db.password", "client-secret", "AWS_ACCESS_KEY", "x_api_key", "Passphrase"]),
    form=st.sampled_from(
        ["{n}={s}", "{n}: {s}", '"{n}": "{s}"', "'{n}': '{s}'", '{n} = "{s}"', "--{n} {s}", "--{n}={s}"]
    ),
    around=st.sampled_from(["{}", "x {} y", "a\n{}\nb", '[{{"k": 1}}, {}]']),
)
def test_a_named_secret_goes_whatever_it_is(secret: str, name: str, form: str, around: str) -> None:
    told = redactor().text(around.format(form.format(n=name, s=secret)))
    assert secret not in told
    assert name in told


@given(st.text())
def test_what_was_taken_out_of_any_text_stays_out_and_nothing_more_goes_the_second_time(text: str) -> None:
    one = redactor()
    told = one.text(f"{text}\npassword=hunter2 {text}")
    assert "hunter2" not in told
    assert one.text(told) == told


# --- whole bundles ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bundle of a node that computes wrongly in a run whose outputs are full of secrets: path → text."""
    place = tmp_path_factory.mktemp("site")
    folder = gpu_run(place, wrong="node2", facts={"bios": "token=PL4NTED"})
    outputs = folder.outputs("00")
    (outputs / "burn.r000002.gpu_burn.out").write_text("\n".join(PLANTED) + "\nGPU 0: 1 errors on node2\n", "utf-8")
    (outputs / "burn.r000001.gpu_burn.out").write_text("of another node", "utf-8")
    (outputs / "burn.r000002.core").write_bytes(b"\x7fELF\x00token=BIN4RY")
    (outputs / "burn.r000002.link").symlink_to("/etc/passwd")
    file = place / "bundle.tar.gz"
    made = make_bundle(folder, fault_named("node2"), place, place / "no-history", file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(made.left_out) == ["outputs/00/burn.r000002.core"]
    with tarfile.open(file) as archive:
        members = archive.getmembers()
        assert {(m.uid, m.uname, m.mtime, m.isreg()) for m in members} == {(0, "", 0, True)}
        return {m.name.partition("/")[2]: (archive.extractfile(m) or io.BytesIO()).read().decode() for m in members}


def test_nothing_planted_survives_in_any_file(packed: dict[str, str]) -> None:
    whole = "\n".join([*packed, *packed.values()])
    planted = set(PLANTED.values()) | {"PL4NTED", "BIN4RY", "host-node0", "node3", "/etc/passwd"}
    assert {secret for secret in planted if secret in whole} == set()


def test_the_fault_is_told(packed: dict[str, str]) -> None:
    readme = packed["README.txt"]
    assert "FAIL  cuda:0: matmul.wrong_elements[bf16]" in readme
    assert "serial-of-GPU-2" in readme
    assert "hpcaccept submit --nodes 1 --nodelist node2 --gpus-per-node 1 --suite mine" in readme
    assert "--only identity --only matmul" in readme
    verdicts = json.loads(packed["verdicts.json"])
    assert verdicts["worst"] == "FAIL"
    assert json.loads(packed["node.json"])["devices"]["cuda:0"]["uuid"] == "GPU-2"
    assert "GPU 0: 1 errors on node2" in packed["outputs/00/burn.r000002.gpu_burn.out"]
    assert "outputs/00/burn.r000001.gpu_burn.out" not in packed
    assert [path for path in packed if path.startswith("records/")] == ["records/00/r000002.jsonl"]


def test_records_are_still_json_lines(packed: dict[str, str]) -> None:
    lines = [json.loads(line) for line in packed["records/00/r000002.jsonl"].splitlines()]
    assert [line["kind"] for line in lines] == ["rank_started", "record", "record", "record", "rank_finished"]


def test_figures_stand_beside_those_of_the_peers(packed: dict[str, str]) -> None:
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(packed["figures.csv"]))}
    rate = rows["matmul.rate_flops[bf16]"]
    assert (float(rate["value"]), rate["peers"], float(rate["peers_median"])) == (7.89e14, "3", 7.91e14)


def test_what_was_replaced_is_counted_and_not_told(packed: dict[str, str]) -> None:
    note = packed["REDACTED.txt"]
    assert "private keys: 2" in note
    assert "host names: " in note
    assert "Left out:\n  outputs/00/burn.r000002.core: it is not text" in note


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gpu_run(tmp_path)
    assert main(["bundle", "run1", "--node", "node1"]) == 0
    assert "hpcaccept-run1-node1.tar.gz" in capsys.readouterr().out
    assert (tmp_path / "hpcaccept-run1-node1.tar.gz").exists()
    assert main(["bundle", "run1", "--node", "node9"]) == 2
    assert "run1 has no node 'node9'" in capsys.readouterr().err


def test_a_node_of_another_run_is_a_mistake(tmp_path: Path) -> None:
    folder = gpu_run(tmp_path)
    with pytest.raises(UsageError, match="has no node"):
        make_bundle(folder, fault_named("other"), tmp_path, tmp_path, tmp_path / "x.tar.gz")
    assert not list(tmp_path.glob("*.tar.gz"))


# --- in JSON: each text by itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "secret"), PLANTED.items())
@pytest.mark.parametrize("before", ["x\n", "failed\n", 'say "', "tab\t", "back\\slash "])
def test_what_is_planted_in_a_field_of_json_goes_and_json_stays_json(text: str, secret: str, before: str) -> None:
    planted = {"cause": before + text, "list": [{"deep": text}], "number": 1.5, text: "as a key"}
    plain = redactor().plain(planted)
    line = redactor().lines(json.dumps(planted, ensure_ascii=False) + "\n")
    for told in (json.dumps(plain, ensure_ascii=False), line):
        assert secret.lower() not in told.lower()
        # Escaped, as JSON writes what is not a plain text.
        assert json.dumps(secret, ensure_ascii=False)[1:-1].lower() not in told.lower()
    assert json.loads(line)["number"] == plain["number"] == 1.5


@pytest.mark.parametrize("value", ["two words\nand a line", 'with "quotes"', "a,b;c&d", "x" * 200])
def test_the_value_of_a_secret_key_goes_whole(value: str) -> None:
    for key in ("password", "HF_TOKEN", "registry.secret", "my-api-key", "Authorization"):
        assert redactor().plain({key: value}) == {key: "[secret]"}
    assert redactor().plain({"user": "emil"})["user"] == "user-1"


def test_a_line_that_is_no_json_is_redacted_as_text() -> None:
    assert redactor().lines('{"torn": "hf_AbCdEfGhIjKlMnOpQrSt\n') == '{"torn": "[secret]\n'


def test_every_file_of_a_bundle_with_secrets_in_every_text_can_be_read(tmp_path: Path) -> None:
    folder = gpu_run(tmp_path, wrong="node2")
    journal = next(folder.records("00").glob("r000002.jsonl"))
    lines = []
    for line in journal.read_text().splitlines():
        thing = json.loads(line)
        if thing["kind"] == "record":
            thing["data"]["facts"] = {f"note{i}": f"x\n{text}" for i, text in enumerate(PLANTED)}
            thing["data"]["remedy"] = "failed\nalice@corp.example"
        lines.append(json.dumps(thing))
    journal.write_text("\n".join(lines) + "\n")
    (folder.path / "run.h5").unlink(missing_ok=True)
    found = make_bundle(folder, fault_named("node2"), tmp_path / "none", tmp_path / "none", tmp_path / "b.tar.gz")
    for path, text in found.texts.items():
        for secret in (*PLANTED.values(), "alice@corp"):
            assert secret.lower() not in text.lower(), (path, secret)
        if path.endswith(".json"):
            json.loads(text)
        if path.endswith(".jsonl"):
            assert [json.loads(line) for line in text.splitlines()]


def test_what_was_reported_to_azure_goes_along(tmp_path: Path) -> None:
    folder = gpu_run(tmp_path)
    body = {"properties": {"impactCategory": "Resource.Hpc.Unhealthy.MissingIB", "impactDescription": "as node1 saw"}}
    report = write_down(tmp_path, "node2", body)
    made = make_bundle(
        folder, fault_named("node2"), tmp_path, tmp_path / "none", tmp_path / "b.tgz", Extras(azure_report=report.file)
    )
    (text,) = (text for path, text in made.texts.items() if path.endswith("/guest-health-report.json"))
    found = json.loads(text)
    assert found["identity"] == report.identity
    assert found["body"]["properties"]["impactCategory"] == "Resource.Hpc.Unhealthy.MissingIB"
    assert "node1" not in text, "it is redacted as everything is"


@pytest.mark.parametrize("node", ["node1", ""])
def test_a_report_of_another_node_is_refused(tmp_path: Path, node: str) -> None:
    folder, report = gpu_run(tmp_path), write_down(tmp_path, node, {})
    with pytest.raises(UsageError, match="expected node2"):
        make_bundle(
            folder,
            fault_named("node2"),
            tmp_path,
            tmp_path / "none",
            tmp_path / "b.tgz",
            Extras(azure_report=report.file),
        )
    assert not (tmp_path / "b.tgz").exists()
