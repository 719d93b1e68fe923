"""No secret of any kind in any field of any file of a bundle; what a vendor needs is still in every one of them."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import H100, nodes, record
from support.finished_runs import finished_ranks, gpu_run

from hpcaccept.app.bundle.pack import Extras, fault_named, make_bundle
from hpcaccept.model.job import JobRef
from hpcaccept.report.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hpcaccept.store.folder import RunFolder

B64 = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq"
#: Kind → what stands in a text, and the part of it that must not come out.
KINDS: dict[str, tuple[str, str]] = {
    "Hugging Face": ("hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345", "hf_AbCdEfGh"),
    "Hugging Face of an organisation": ("api_org_AbCdEfGhIjKlMnOpQrStUvWxYz", "api_org_AbCd"),
    "GitHub": ("ghp_0123456789abcdefghijABCDEFGHIJ456789", "ghp_0123456789"),
    "GitHub, fine-grained": ("github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuv", "github_pat_11"),
    "GitLab": ("glpat-x1Y2z3-A4b5C6d7E8f9G0", "glpat-x1Y2"),
    "GitLab runner": ("glrt-t1_AbCdEfGhIjKlMnOpQr", "glrt-t1"),
    "AWS key": ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7"),
    "AWS session": ("ASIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7"),
    "AWS secret": ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
    "Azure storage": (f"AccountName=store;AccountKey={B64}/K1SZFPTOtr/KBHBeksoGMGw==", B64[:20]),
    "Azure storage key alone": (f"{B64[:50]}/K1SZFPTOtr+KBHBeksoGMGw==", B64[:20]),
    "Azure SAS": ("https://store.blob.core.windows.net/c/f?sv=2023-11-03&sp=r&sig=aB3%2FxYz012345%3D", "aB3%2FxYz"),
    "signature alone": ("sp=r&st=2026-11-22&sig=aB3%2FqWe012345%3D", "aB3%2FqWe"),
    "AWS signed": ("https://b.s3.amazonaws.com/k?X-Amz-Credential=AKIDPLANTED&X-Amz-Signature=fe5f80f77d5fa3beca038a248ff027", "fe5f80f77d5fa3"),
    "AWS signature alone": ("X-Amz-Security-Token=IQoJb3JpZ2luX2VjEJr", "IQoJb3JpZ2lu"),
    "GCP key": ("AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY", "AIzaSyD-9tSr"),
    "GCP token": ("ya29.a0AfH6SMBx1y2z3A4B5C6D7", "ya29.a0AfH6"),
    "GCP client": ("GOCSPX-1a2B3c4D5e6F7g8H9i0J", "GOCSPX-1a2B"),
    "Slack": ("xoxb-123456789012-abcdefABCDEF", "xoxb-1234"),
    "Slack app": ("xapp-1-A0123-456-abcdef0123", "xapp-1-A0123"),
    "Slack hook": ("https://hooks.slack.com/services/T00000000/B00000000/XXXXyyyy1234", "T00000000"),
    "OpenAI": ("sk-proj-AbCdEfGhIjKlMnOpQrSt", "sk-proj-AbCd"),
    "Anthropic": ("sk-ant-api03-AbCdEfGhIjKlMnOpQrSt", "sk-ant-api03"),
    "NVIDIA NGC": ("nvapi-AbCdEfGh-IjKlMnOpQrStUvWxYz01", "nvapi-AbCd"),
    "NGC of old": ("bXlzZWNyZXRrZXlvZk5HQzEyMzQ1Njc4OTBhYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejEyMzQ1Njc4OTA", "bXlzZWNyZXRr"),
    "Docker": ('"auth": "YW5uYTpodW50ZXIy"', "YW5uYTpodW50ZXIy"),
    "Docker token": ("dckr_pat_AbCdEfGhIjKlMnOpQrSt", "dckr_pat_AbCd"),
    "identity token": ('{"identitytoken": "pl4nted-id-tok"}', "pl4nted-id-tok"),
    "JWT": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJzdWIiOiIxIn0"),
    "private key": ("-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx1\n-----END RSA PRIVATE KEY-----", "MIIEowIBAAKC"),
    "PGP": ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOYBF0planted\n-----END PGP PRIVATE KEY BLOCK-----", "lQOYBF0planted"),
    "URL": ("https://anna:hunter2@reg.example.com/v2", "hunter2"),
    "user:password": ("curl -u beate:s3same! https://x.example.com", "s3same!"),
    "login": ("login carla:0pen-up", "0pen-up"),
    "user that is known": ("dagmar:l1ve-pw", "l1ve-pw"),
    "crypt": ("$6$saltsalt$Qx0planted0hash0/abc.", "Qx0planted0hash"),
    "named": ("WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567", "0123456789abcdef0123"),
    "header": ("Authorization: Bearer abc.DEF-123456789", "abc.DEF-123"),
    "mail": ("erika.muster@site.example.org", "erika.muster"),
    "private host": ("login3.hpc.internal", "login3.hpc"),
    "host of the run": ("srun: node1: task 3", "node1"),
    "host of a known domain": ("storage7.cluster.site.example", "storage7"),
    "IPv4": ("inet 10.41.7.13/16", "10.41.7.13"),
    "IPv6": ("peer fd12:3456:789a::13 up", "fd12:3456"),
    "MAC": ("ether 9c:63:c0:aa:bb:01", "9c:63:c0"),
    "MAC with dashes": ("9C-63-C0-AA-BB-02", "9C-63-C0"),
    "MAC with dots": ("9c63.c0aa.bb03", "9c63.c0aa"),
    "home": ("/home/frieda/runs/x.log", "frieda"),
    "home elsewhere": ("/lustre/home/gerda.b/x.log", "gerda.b"),
    "tilde": ("see ~heidi/notes", "heidi"),
    "user at a host": ("ssh ingrid@node1 uptime", "ingrid"),
    "user": ("USER=jutta LOGNAME=jutta", "jutta"),
    "uid": ("uid=1000(karin) gid=1000(karin)", "karin"),
    "Slurm user": ("UserId=lotte(1000)", "lotte"),
}  # fmt: skip
#: What a vendor looks for; it comes out as it went in.
NEEDED = (
    "GPU-5f0ab1c2-1234-5678-9abc-def012345678", "MIG-5f0ab1c2-1234-5678-9abc-def012345679", "0000:3b:00.0", "serial 1650123456789", "580.95.05",
    "6.1.0-40-amd64", "96.00.99.00.01", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "7.891234567890123e+14",
    "Xid 79", "h100@1", "mlx5_0", "/usr/lib/x86_64-linux-gnu/libnccl.so.2", "/lustre/Projects/Run2026/Nodes/Matmul/Output/Bf16", "2026-11-22T01:00:00.000+00:00",
    "on node2 at 02:00:13", "c0ffee12-3456",
)  # fmt: skip
FORMS = ("{}", "x\n{}", "a; {}, b", '["{}"]', "it said {!r} twice", "<{}>")


def test_a_user_of_one_letter_or_of_no_person_takes_nothing_out_of_the_text() -> None:
    text = "x 1: root:disk nobody:nogroup daemon: started on gpu x"
    assert Redactor(["node2"], [], ["x", "root", "nobody", "daemon"]).text(text) == text
    assert Redactor(["node2"], [], ["xy"]).text("xy 1") != "xy 1"


def redactor() -> Redactor:
    return Redactor(["node2"], ["node0", "node1", "host-node1.cluster.site.example"], ["dagmar"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_goes_in_every_form(kind: str) -> None:
    text, secret = KINDS[kind]
    for form in FORMS:
        one = redactor()
        assert secret.lower() not in one.text(form.format(text)).lower()
        assert secret.lower() not in json.dumps(redactor().plain({"note": form.format(text)})).lower()
        assert sum(one.counts.values()) > 0


@pytest.mark.parametrize("needed", NEEDED)
def test_what_a_vendor_needs_stays_in_every_form(needed: str) -> None:
    for form in FORMS:
        assert redactor().text(form.format(needed)) == form.format(needed)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"password": ["one two", {"deep": "three"}], "n": 1}, {"password": ["[secret]", {"deep": "[secret]"}], "n": 1}),
        ({"password": 12345, "max_tokens": 12, "tokens": 3}, {"password": "[secret]", "max_tokens": 12, "tokens": 3}),
        ({"accessToken": "a b", "clientSecret": "c", "apiKey": "d"}, dict.fromkeys(("accessToken", "clientSecret", "apiKey"), "[secret]")),
        ({"identitytoken": "two words", "auths": {"r": {"auth": base64.b64encode(b"u:p4").decode()}}}, {"identitytoken": "[secret]", "auths": {"r": {"auth": "[secret]"}}}),
        ({"password": None, "token": "", "secret": True}, {"password": None, "token": "", "secret": True}),
    ],
)  # fmt: skip
def test_whatever_stands_under_the_name_of_a_secret_goes_whole(given: Any, told: Any) -> None:
    assert redactor().plain(given) == told


def test_a_table_stays_a_table_whatever_goes_out_of_its_cells() -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [["a", 'password="x y"', "1.5"], ["line\nend", "hf_" + "A1b2" * 6, "7.9e14"]]
    )
    rows = list(csv.reader(io.StringIO(redactor().table(out.getvalue()))))
    assert [len(row) for row in rows] == [3, 3]
    assert [row[2] for row in rows] == ["1.5", "7.9e14"]
    assert "x y" not in rows[0][1]


# --- a whole bundle ---------------------------------------------------------------------------------------------------

#: Fields by which the bundle is found and read: another text there is another run.
FIXED = frozenset(
    {"kind", "check", "step", "node", "nodes", "device", "outcome", "metric", "variant", "run_id", "name", "launcher", "baseline", "mpi", "interruption", "runtime",
     "origin", "id", "at", "created_at", "started_at", "device_id", "unit", "source", "time_s", "hostname"}
)  # fmt: skip


def planted(thing: Any, text: str, key: str = "") -> Any:
    """A JSON value with a text added to every free text in it, and put where an empty one is."""
    if isinstance(thing, dict):
        return {
            name: value if name in FIXED and isinstance(value, str) else planted(value, text, name)
            for name, value in thing.items()
        }
    if isinstance(thing, list):
        return thing if key in FIXED else [planted(one, text, key) for one in thing]
    return f"{thing} {text}" if isinstance(thing, str) else thing


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bundle of a run with every secret in every text that anybody could write."""
    place = tmp_path_factory.mktemp("site")
    folder = gpu_run(place, wrong="node2", facts={"bios": "1.2"})
    folder.write_job(JobRef("slurm", "17", host="login1.cluster.site.example"))
    everything = "\n".join([*(text for text, _ in KINDS.values()), *NEEDED])
    named = {"HF_TOKEN": "two words", "user": "jutta", "env": {"PASSWORD": "0pen"}, "list": [everything]}
    for file in (folder.driver_log, folder.records("00") / "r000002.jsonl"):
        lines = [planted(json.loads(line), everything) for line in file.read_text().splitlines()]
        for line in lines:
            if line["kind"] == "record":
                line["data"].update(beat=everything, image=everything, unsupported={"fp8": everything})
                line["data"]["facts"] = line["data"].get("facts", {}) | {
                    "config": json.dumps(named),
                    everything: "as a key",
                }
            if line["kind"] == "event":
                line["data"].update(detail=everything, remedy=everything)
        file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    plan = json.loads(folder.plan_file.read_text())
    plan["request"] |= {
        "slurm": {"comment": everything},
        "account": "dagmar",
        "partition": everything,
        "exclude": everything,
    }
    plan["image"] |= {
        "reference": f"reg.example.com/{everything}",
        "env": {"NOTE": everything, "API_KEY": "0pen"},
        "mounts": [everything],
        "workdir": everything,
    }
    plan["suite"] |= {"about": everything}
    plan["commit"] = everything
    folder.plan_file.write_text(json.dumps(plan))
    for number, form in enumerate(FORMS):
        text = "\n".join(form.format(one) for one in (*(text for text, _ in KINDS.values()), *NEEDED))
        (folder.outputs("00") / f"tool{number}.r000002.out").write_text(text)
    (folder.outputs("00") / "tool.r000002.json").write_text(json.dumps({"a": [named, {everything: 1.5}]}))
    made = make_bundle(folder, fault_named("node2"), place, place / "none", place / "b.tar.gz")
    return {path.partition("/")[2]: text for path, text in made.texts.items()}


def texts_of(path: str, content: str) -> Iterator[str]:
    """Every text of a file of the bundle, as its reader sees it."""

    def walk(thing: Any) -> Iterator[str]:
        if isinstance(thing, dict):
            for key, value in thing.items():
                yield from (key, *walk(value))
        elif isinstance(thing, list):
            for one in thing:
                yield from walk(one)
        elif isinstance(thing, str):
            yield thing

    yield content
    if path.endswith(".json"):
        yield from walk(json.loads(content))
    if path.endswith(".jsonl"):
        for line in content.splitlines():
            yield from walk(json.loads(line))


def test_no_secret_comes_out_of_any_field_of_any_file(packed: dict[str, str]) -> None:
    assert {
        "README.txt",
        "verdicts.json",
        "node.json",
        "figures.csv",
        "run.json",
        "driver.jsonl",
        "REDACTED.txt",
    } <= set(packed)
    found = {
        (path, kind)
        for path, content in packed.items()
        for text in texts_of(path, content)
        for kind, (_, secret) in {**KINDS, "by key": ("", "two words"), "short": ("", "0pen")}.items()
        if re.search(rf"{re.escape(secret)}", text, re.IGNORECASE)
    }
    assert found == set()


def test_what_a_vendor_needs_comes_out_of_every_field(packed: dict[str, str]) -> None:
    for path in (
        "run.json",
        "driver.jsonl",
        "records/00/r000002.jsonl",
        "node.json",
        *(f"outputs/00/tool{n}.r000002.out" for n in range(len(FORMS))),
    ):
        missing = {needed for needed in NEEDED if needed not in packed[path]}
        assert (path, missing) == (path, set())


# --- how to see it again ----------------------------------------------------------------------------------------------


def again(made: dict[str, str]) -> list[str]:
    readme = next(text for path, text in made.items() if path.endswith("README.txt"))
    return shlex.split(next(line for line in readme.splitlines() if line.strip().startswith("hpcaccept submit")))


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def slow_run(place: Path, gpus: int) -> RunFolder:
    """Four nodes; the first GPU of node2 reaches a third of what all others do."""
    said = {}
    for rank in range(4 * gpus):
        who = {
            "rank": rank,
            "device": f"cuda:{rank % gpus}",
            "device_id": f"GPU-{rank}",
            "device_model": H100,
            "revision": 2,
        }
        rate = (2.6e14 if rank == 2 * gpus else 7.9e14) * (1 + rank % 3 / 1000)
        numbers: dict[str, float | Sequence[float]] = {
            "rate_flops[bf16]": [rate],
            "wrong_elements[bf16]": 0.0,
            "spread[bf16]": 0.01,
        }
        said[rank] = [record("matmul", f"node{rank // gpus}", numbers, **who)]
    tables = {"baseline": "optional", "checks": {"matmul": {}}}
    return finished_ranks(place, "run1", tables, nodes(4), said, gpus_per_node=gpus)


@pytest.mark.parametrize(("gpus", "count"), [(1, 3), (2, 2), (8, 1)])
def test_a_node_that_is_slower_than_its_peers_is_seen_again_with_enough_of_them(
    tmp_path: Path, gpus: int, count: int
) -> None:
    folder = slow_run(tmp_path, gpus)
    words = again(
        make_bundle(
            folder, fault_named("node2"), tmp_path / "none", tmp_path / "none", tmp_path / "b.tgz", Extras(True)
        ).texts
    )
    assert option(words, "--nodes") == str(count)
    named = option(words, "--nodelist").split(",")
    assert named[0] == "node2"
    assert len(set(named)) == count
    assert option(words, "--suite") == "mine"


def test_a_number_that_is_wrong_by_itself_needs_no_partner(tmp_path: Path) -> None:
    folder = gpu_run(tmp_path, wrong="node2")
    words = again(
        make_bundle(folder, fault_named("node2"), tmp_path / "none", tmp_path / "none", tmp_path / "b.tgz").texts
    )
    assert (option(words, "--nodes"), option(words, "--nodelist")) == ("1", "node2")
