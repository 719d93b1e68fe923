"""Manifests: what Kubernetes would say of them, what must stand in them, and how runs and verdicts leave their pods."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import tarfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from support.builders import plan
from support.finished_runs import gpu_run
from support.golden_text import assert_golden
from support.kubernetes_rules import faults

from hpcaccept import __version__
from hpcaccept.app.kubernetes import log, pod
from hpcaccept.app.kubernetes.manifest import VERSIONS
from hpcaccept.cli import main
from hpcaccept.errors import LaunchError, RunError, StoreError, UsageError
from hpcaccept.store.folder import RunFolder
from hpcaccept.transport.sshd import sshd

if TYPE_CHECKING:
    from collections.abc import Callable

DIGEST = "registry.example/hpcaccept@sha256:" + "a" * 64
CASES = {
    "one_node_log": ["--gpus-per-node", "8", "--log"],
    "one_node_claim": ["--gpus-per-node", "0", "--pvc", "runs", "--kube-version", "1.25", "--cpu", "4", "--memory", "8Gi"],
    "four_nodes": ["--gpus-per-node", "8", "--nodes", "4", "--pvc", "runs"],
    "everything": [
        "--gpus-per-node", "4", "--nodes", "2", "--pvc", "runs", "--name", "night-1", "--namespace", "ops", "--suite", "standard",
        "--skip", "storage", "--set", "burn.duration_s=60", "--gpu-resource", "nvidia.com/mig-1g.10gb", "--rdma-resource",
        "rdma/hca", "--cpu", "96", "--memory", "512Gi", "--shm", "64Gi", "--node-selector", "pool=h100", "--toleration",
        "reserved=test:NoSchedule", "--toleration", "maintenance", "--secret", "keys", "--service-account", "tester",
        "--image-pull-secret", "registry", "--start-timeout", "600", "--kube-version", "1.37", "--search",
    ],
}  # fmt: skip


def render(capsys: pytest.CaptureFixture[str], *words: str, image: str = DIGEST) -> str:
    assert main(["k8s", "render", "--image", image, *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def parsed(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def job_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (job,) = [d for d in documents if d["kind"] == "Job"]
    return job


def refused(documents: list[dict[str, Any]], version: str) -> str:
    """Why Kubernetes would refuse them; a kind without a schema is refused too."""
    for document in documents:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as fault:
            return f"{document.get('kind')}: {fault.message}"
        except kubernetes_validate.SchemaNotFoundError as fault:
            return f"no schema: {fault}"
    return "; ".join(faults(documents))


# --- what Kubernetes would say ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_manifest_is_what_was_accepted(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_golden(f"../data/kubernetes/{name}.yaml", render(capsys, *CASES[name]).replace(__version__, "VERSION"))


@pytest.mark.parametrize("minor", VERSIONS)
@pytest.mark.parametrize("nodes", ["1", "4"])
def test_kubernetes_would_take_every_manifest(nodes: str, minor: int, capsys: pytest.CaptureFixture[str]) -> None:
    if nodes == "4" and minor < 29:
        assert (
            main(
                [
                    "k8s",
                    "render",
                    "--image",
                    DIGEST,
                    "-g",
                    "8",
                    "-N",
                    nodes,
                    "--pvc",
                    "r",
                    "--kube-version",
                    f"1.{minor}",
                ]
            )
            == 2
        )
        assert "1.29" in capsys.readouterr().err
        return
    text = render(capsys, *CASES["everything"], "--nodes", nodes, "--kube-version", f"1.{minor}")
    assert refused(parsed(text), f"1.{minor}") == ""


MISTAKES: dict[str, tuple[str, Any]] = {
    "an unknown field": ("spec.backoffLimits", 0),
    "a missing field": ("spec.template", None),
    "a number as text": ("spec.activeDeadlineSeconds", "long"),
    "an unknown kind": ("kind", "Jobs"),
    "an unknown mode": ("spec.completionMode", "Bogus"),
    "an unknown action": ("spec.podFailurePolicy.rules.1.action", "FailIndx"),
    "an unknown operator": ("spec.podFailurePolicy.rules.1.onExitCodes.operator", "Is"),
    "a number of GPUs in words": ("spec.template.spec.containers.0.resources.limits.nvidia~com/gpu", "eight"),
    "half a GPU": ("spec.template.spec.containers.0.resources.limits.nvidia~com/gpu", 0.5),
    "a size that is none": ("spec.template.spec.volumes.0.emptyDir.sizeLimit", "8Gib"),
    "a medium that is none": ("spec.template.spec.volumes.0.emptyDir.medium", "RAM"),
    "an effect that is none": ("spec.template.spec.tolerations.0.effect", "NoScheduling"),
    "a restart": ("spec.template.spec.restartPolicy", "Always"),
    "a mount of nothing": ("spec.template.spec.containers.0.volumeMounts.0.name", "shmem"),
    "another subdomain": ("spec.template.spec.subdomain", "other"),
    "labels that nobody selects": ("spec.template.metadata.labels.app~kubernetes~io/instance", "other"),
    "a bad node that ends the others": ("spec.maxFailedIndexes", 0),
    "a pass among the failures": ("spec.podFailurePolicy.rules.1.onExitCodes.values", [0, 1]),
    "a termination message of another kind": ("spec.template.spec.containers.0.terminationMessagePolicy", "Logs"),
    "no deadline": ("spec.activeDeadlineSeconds", None),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_would_be_seen(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    documents = parsed(render(capsys, *CASES["four_nodes"]))
    assert refused(documents, "1.34") == ""
    path, value = MISTAKES[what]
    at: Any = job_of(documents)
    *way, last = [part.replace("~", ".") for part in path.split(".")]
    for part in way:
        at = at[int(part) if part.isdecimal() else part]
    if value is None:
        del at[last]
    else:
        at[last] = value
    assert refused(documents, "1.34")


# --- what must stand in them ------------------------------------------------------------------------------------------


def test_nothing_is_privileged_and_no_token_is_mounted(capsys: pytest.CaptureFixture[str]) -> None:
    for case in CASES.values():
        spec = job_of(parsed(render(capsys, *case)))["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert not any(key in spec for key in ("hostNetwork", "hostPID", "hostIPC"))
        assert not any("hostPath" in volume for volume in spec["volumes"])


def test_root_is_asked_for_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    documents = parsed(render(capsys, *CASES["four_nodes"], "--run-as", "0", "--rdma-resource", "rdma/hca"))
    assert refused(documents, "1.34") == ""
    spec = job_of(documents)["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is False
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"add": ["IPC_LOCK"]}


def test_no_key_is_in_a_manifest_but_the_line_that_makes_one(capsys: pytest.CaptureFixture[str]) -> None:
    text = render(capsys, *CASES["four_nodes"])
    assert "PRIVATE KEY" not in text
    assert not [d for d in parsed(text) if d["kind"] == "Secret"]
    (line,) = [line for line in text.splitlines() if "ssh-keygen" in line]
    assert line.startswith("# ")
    assert f"--from-file={pod.KEY.name}=key" in line


def test_a_tag_is_called_one_and_a_digest_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert "named by a tag" in render(capsys, *CASES["one_node_log"], image="registry.example/hpcaccept:1")
    assert "named by a tag" not in render(capsys, *CASES["one_node_log"])


def test_what_is_tested_is_what_submit_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--skip", "storage", "--set", "burn.duration_s=60", "--suite", "standard"]
    (container,) = job_of(parsed(render(capsys, "-g", "8", "--pvc", "r", *words)))["spec"]["template"]["spec"][
        "containers"
    ]
    said = container["args"]
    assert container["command"] == ["python3", "-m", "hpcaccept"]
    assert said[:6] == ["submit", "--nodes", "1", "--nodelist", "$(NODE_NAME)", "--launcher"]
    for option, value in zip(words[::2], words[1::2], strict=True):
        assert said[said.index(option) + 1] == value
    assert said[said.index("--gpus-per-node") + 1] == "8"


def test_a_dollar_of_the_user_is_no_variable_of_kubernetes(capsys: pytest.CaptureFixture[str]) -> None:
    text = render(capsys, "-g", "0", "--log", "--set", "storage.shared_path='/x$(HOME)'", "--suite", "standard")
    (container,) = job_of(parsed(text))["spec"]["template"]["spec"]["containers"]
    assert "storage.shared_path='/x$$(HOME)'" in container["args"]


def test_the_deadline_covers_the_waiting_and_every_deadline_of_the_suite(capsys: pytest.CaptureFixture[str]) -> None:
    def deadline(*words: str) -> int:
        found = job_of(parsed(render(capsys, "-g", "0", "--log", *words)))["spec"]["activeDeadlineSeconds"]
        assert isinstance(found, int)
        return found

    plain = deadline()
    assert deadline("--pods-timeout", "2200") == plain + 1000
    assert deadline("--set", "matmul.deadline_s=9999") > plain + 9000


def test_a_suite_of_ones_own_comes_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('about = "Mine: äöü"\n[checks.identity]\n')
    documents = parsed(render(capsys, "-g", "0", "--log", "--suite", str(file)))
    assert refused(documents, "1.34") == ""
    (config,) = [d for d in documents if d["kind"] == "ConfigMap"]
    assert config["data"] == {"mine.toml": file.read_text()}
    (container,) = job_of(documents)["spec"]["template"]["spec"]["containers"]
    place = Path(container["args"][container["args"].index("--suite") + 1])
    assert place.name == "mine.toml"
    assert str(place.parent) in [m["mountPath"] for m in container["volumeMounts"]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-g", "8"], "--pvc NAME"),
        (["-g", "8", "--log", "--pvc", "r"], "Where is the run to be kept"),
        (["-g", "8", "--log", "--nodes", "2"], "ReadWriteMany"),
        (["--log"], "--gpus-per-node"),
        (["-g", "8", "--log", "--name", "Night_1"], "--name is 'Night_1'"),
        (["-g", "8", "--log", "--memory", "lots"], "--memory is 'lots'"),
        (["-g", "8", "--log", "--shm", "8Gib"], "--shm is '8Gib'"),
        (["-g", "8", "--log", "--toleration", "a=b:Never"], "KEY[=VALUE][:EFFECT]"),
        (["-g", "8", "--log", "--node-selector", "h100"], "KEY=VALUE"),
        (["-g", "8", "--log", "--gpu-resource", "gpu"], "DOMAIN/NAME"),
        (["-g", "8", "--log", "--kube-version", "1.24"], "1.25 to 1.37"),
        (["-g", "8", "--log", "--kube-version", "latest"], "expected 1.N"),
        (["-g", "8", "--log", "--suite", "quik"], "Did you mean 'quick'?"),
        (["-g", "8", "--log", "--skip", "nothing"], "nothing"),
        (["-g", "8", "--log", "--namespace", "a b"], "--namespace is 'a b'"),
        (["-g", "8", "--pvc", "r", "--nodes", "0"], "--nodes is 0"),
    ],
)
def test_a_bad_option_is_told(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["k8s", "render", "--image", DIGEST, *words]) == 2
    assert says in capsys.readouterr().err


def test_an_image_with_a_space_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["k8s", "render", "--image", "a b", "-g", "8", "--log"]) == 2
    assert "--image is 'a b'" in capsys.readouterr().err


# --- a run in a log ---------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished run."""
    return gpu_run(tmp_path / "from")


def test_a_run_comes_back_out_of_a_log(run: RunFolder, tmp_path: Path) -> None:
    lines = [f"2026-11-22T01:00:00Z [pod/x] {line}\n" for line in ("noise", *log.to_log(run), "more noise")]
    back = log.from_log(lines, tmp_path / "to")
    assert back.run_id == run.run_id
    assert back.read_plan() == run.read_plan()
    here = {f.relative_to(run.path): f.read_bytes() for f in run.path.rglob("*") if f.is_file()}
    there = {f.relative_to(back.path): f.read_bytes() for f in back.path.rglob("*") if f.is_file()}
    assert there == {
        name: text for name, text in here.items() if str(name) not in ("run.h5", "report.html", ".reserve")
    }
    assert max(map(len, log.to_log(run))) < 16384, "container runtimes cut lines at 16 KiB"


def test_a_run_that_is_there_is_not_overwritten(run: RunFolder, tmp_path: Path) -> None:
    lines = list(log.to_log(run))
    log.from_log(lines, tmp_path / "to")
    with pytest.raises(RunError, match="is there already"):
        log.from_log(lines, tmp_path / "to")


def test_raw_outputs_are_left_out_before_records_are(run: RunFolder) -> None:
    big = run.outputs("00") / "big.txt"
    big.parent.mkdir(parents=True, exist_ok=True)
    big.write_bytes(bytes(range(256)) * 40 + os.urandom(60_000))
    head = json.loads(next(log.to_log(run, 50_000)).partition("begin ")[2])
    assert "outputs" in head["without"]
    assert "logs" not in head["without"]
    with pytest.raises(RunError, match="--pvc"):
        list(log.to_log(run, 100))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda lines: lines[:-1], "no end"),
        (lambda lines: [], "no run in this text"),
        (lambda lines: [lines[0], *lines[2:]], "damaged"),
        (lambda lines: [lines[0], lines[1][:-8] + "AAAAAAAA", *lines[2:]], "damaged"),
        (lambda lines: [re.sub('"run": "[^"]*"', '"run": "../../etc"', lines[0]), *lines[1:]], "begins no run"),
        (lambda lines: [log.MARK + "begin what?", *lines[1:]], "begins no run"),
        (lambda lines: [lines[0], *[log.MARK + "A" * 100_000] * 200, lines[-1]], "longer than any"),
    ],
)
def test_a_log_that_was_harmed_is_refused(
    run: RunFolder, tmp_path: Path, harm: Callable[[list[str]], list[str]], says: str
) -> None:
    with pytest.raises(StoreError, match=says):
        log.from_log(harm(list(log.to_log(run))), tmp_path / "to")
    assert not list((tmp_path / "to").glob("*"))


def _evil(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, "/etc/passwd", 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(entry, BytesIO(b"evil") if entry.size else None)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("/etc/evil", tarfile.REGTYPE), ("../evil", tarfile.REGTYPE), ("a/../../evil", tarfile.REGTYPE), ("plan.json", tarfile.SYMTYPE),
     ("plan.json", tarfile.LNKTYPE), ("null", tarfile.CHRTYPE), ("pipe", tarfile.FIFOTYPE)],
)  # fmt: skip
def test_what_a_log_holds_stays_in_its_folder(
    name: str, kind: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_packed", lambda path, without: _evil(name, kind))
    with pytest.raises(StoreError, match="not a plain file of a run folder"):
        log.from_log(list(log.to_log(RunFolder(tmp_path / "r1"))), tmp_path / "to")
    assert not list((tmp_path / "to").glob("*"))
    assert not (tmp_path / "evil").exists()


def test_a_small_text_that_unpacks_to_a_large_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_MOST_UNPACKED", 1000)
    monkeypatch.setattr(log, "_packed", lambda path, without: _evil("plan.json"))
    with pytest.raises(StoreError, match="more than 1000 bytes"):
        log.from_log(list(log.to_log(RunFolder(tmp_path / "r1"))), tmp_path / "to")


# --- what pods tell each other ----------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod, "LOOK_S", 0.01)
    monkeypatch.setattr(pod, "SILENCE_S", 0.2)


def pod_at(place: Path, index: int, nodes: int = 3) -> pod.Pod:
    environ = {"JOB_COMPLETION_INDEX": str(index), "JOB_UID": "u1", "NODE_NAME": f"gpu-{index}"}
    return pod.pod_of(environ, "test", nodes, place)


REPORT: dict[str, Any] = {
    "run": "r1",
    "nodes": {"gpu-0": "PASS", "gpu-1": "FAIL", "test-2.test": "ERROR"},
    "verdicts": [
        {"outcome": "ERROR", "node": "test-2.test", "device": "", "check": "identity", "reason": "never came"},
        {"outcome": "FAIL", "node": "gpu-1", "device": "cuda:3", "check": "matmul", "reason": "too slow"},
        {"outcome": "PASS", "node": "gpu-0", "device": "", "check": "identity", "reason": ""},
    ],
}


def test_who_is_there_is_called_by_its_node_and_who_is_not_by_its_host(tmp_path: Path, quick: None) -> None:
    for index in (0, 1):
        pod.announce(pod_at(tmp_path, index))
    names = pod.gather(pod_at(tmp_path, 0), 0.05)
    assert names == {0: "gpu-0", 1: "gpu-1", 2: "test-2.test"}


def test_a_node_name_that_is_none_becomes_no_word_of_a_configuration(tmp_path: Path, quick: None) -> None:
    one = pod_at(tmp_path, 1)
    one.shared.mkdir(parents=True)
    (one.shared / "pod-1.json").write_text(json.dumps({"node": "x\nProxyCommand evil"}))
    assert pod.gather(pod_at(tmp_path, 0), 0.0)[1] == "test-1.test"


def test_two_pods_on_one_node_are_refused(tmp_path: Path, quick: None) -> None:
    one = pod_at(tmp_path, 0)
    for index in (0, 1, 2):
        pod.announce(pod_at(tmp_path, index))
    (one.shared / "pod-2.json").write_text('{"node": "gpu-1"}')
    with pytest.raises(RunError, match="Two pods are on gpu-1"):
        pod.gather(one, 1)


def test_every_index_exits_as_its_node_was_judged(tmp_path: Path, quick: None) -> None:
    names = {0: "gpu-0", 1: "gpu-1", 2: "test-2.test"}
    pod.announce(pod_at(tmp_path, 0))
    pod.tell(pod_at(tmp_path, 0), names, REPORT, "")
    assert pod.await_verdict(pod_at(tmp_path, 1), 1) == (1, "run r1: FAIL gpu-1 cuda:3 matmul: too slow")
    code, words = pod.await_verdict(pod_at(tmp_path, 2), 1)
    assert code == 3
    assert "never came" in words


def test_without_a_report_no_index_passes(tmp_path: Path, quick: None) -> None:
    pod.announce(pod_at(tmp_path, 0))
    pod.tell(pod_at(tmp_path, 0), {0: "gpu-0", 1: "gpu-1"}, {}, "the run could not be made")
    assert pod.await_verdict(pod_at(tmp_path, 1), 1) == (3, "run : the run could not be made")


@pytest.mark.parametrize("outcome", ["NOT_RUN", "NO_BASELINE", "ERROR", "something new", ""])
def test_what_was_not_judged_is_never_a_pass(outcome: str) -> None:
    assert pod.code_of({"nodes": {"a": outcome}}, "a") == 3
    assert pod.code_of({"nodes": {}}, "a") == 3


def test_index_0_that_never_comes_is_not_waited_for(tmp_path: Path, quick: None) -> None:
    code, why = pod.await_verdict(pod_at(tmp_path, 1), 0.05)
    assert code == 3
    assert "index 0 (test-0.test) never came" in why


def test_index_0_that_falls_silent_is_not_waited_for(tmp_path: Path, quick: None) -> None:
    zero = pod_at(tmp_path, 0)
    pod.announce(zero)
    with pod.alive(zero):
        pass
    code, why = pod.await_verdict(pod_at(tmp_path, 1), 60)
    assert code == 3
    assert "says nothing any more" in why


def test_the_words_of_a_verdict_fit_into_a_termination_message() -> None:
    many = copy.deepcopy(REPORT["verdicts"]) * 200
    said = pod.rank_logs_of({"verdicts": many})
    assert len(said) <= 2048
    assert said.startswith("FAIL")


def test_outside_of_a_job_it_says_what_is_missing() -> None:
    with pytest.raises(UsageError, match="JOB_COMPLETION_INDEX is ''"):
        pod.pod_of({}, "test", 2, Path("/runs"))


def test_a_secret_that_is_no_key_is_told(tmp_path: Path) -> None:
    if not shutil.which("ssh-keygen"):
        pytest.skip("no ssh-keygen: apt-get install openssh-client")
    (tmp_path / "pasted").write_text("-----BEGIN NONSENSE-----\n")
    with (
        pytest.raises(LaunchError, match="not a private key without a passphrase"),
        sshd(tmp_path, tmp_path / "pasted", 1, {}),
    ):
        pass
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_plan_is_needed_to_call_a_folder_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_packed", lambda path, without: _evil("other.json"))
    with pytest.raises(StoreError, match="not a run folder"):
        log.from_log(list(log.to_log(RunFolder(tmp_path / plan().run_id))), tmp_path / "to")
    assert not list((tmp_path / "to").glob("*"))
