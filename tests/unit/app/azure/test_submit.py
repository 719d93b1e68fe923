"""What is typed on the first node, and with which variables."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.azure_fixtures import HOST_KEY as KEY

from hpcaccept.app.azure import remote_run
from hpcaccept.app.azure import submit as submitting
from hpcaccept.app.azure.hosts import _FILE, _Kept
from hpcaccept.app.azure.render import load_cluster
from hpcaccept.cli import main
from hpcaccept.config.suites import built_in
from hpcaccept.provider.azure.nodes import Node
from hpcaccept.serial import dumps

ROOT = Path(__file__).parents[4]
#: Writes down what it was to run; has hpcaccept, and a run that ended with $ENDED unless $RUN says that there is none.
SSH = """\
#!/bin/sh
for last; do :; done
printf '%s\\n' "$last" >>"$CALLS"
case "$last" in
*'import hpcaccept'*) exit "${LACKS:-0}";;
'ls -1d '*) for word in $last; do folder=$word; done; echo "/shared/azure-0123abcd/${folder##*/}";;
'ls -1 -- /shared/azure-0123abcd '*) echo "$OLD"; [ ! -e "$CALLS.begun" ] || echo 20261130-120000-standard-2n-abcd;;
'ls -1 '*) echo ${RUN-20261130-120000-standard-2n-abcd};;
'cd -- '*/isolation' '*) ;;
'cd -- '*) echo run.h5 isolation-report.json rank.log;;
cat*/run.h5|cat*.json) echo run;;
*isolate*) touch "$CALLS.begun"; exit "${ENDED:-1}";;
*submit*|*hpcaccept\\ wait*) printf '\\033[2Jdone\\n'; exit "${ENDED:-1}";;
esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "h200"
    place.mkdir()
    nodes = tuple(Node(f"vm-{i}", f"/vm/{i}", f"id-{i}", f"10.0.0.{4 + i}", 50000 + i, KEY) for i in range(2))
    (place / _FILE).write_text(dumps(_Kept(nodes)))
    return tmp_path / "calls"


CONFIG = str(ROOT / "azure/h200-2-nodes.toml")


def test_the_exit_code_is_that_of_the_run_and_its_words_are_made_harmless(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--suite", "standard", "--shared", "/my runs", "--python", "/opt/py", "--", "--skip", "storage"]
    assert main(["azure", "submit", CONFIG, *words]) == 1
    asked, typed = calls.read_text().splitlines()[:2]
    assert asked == "/opt/py -c 'import hpcaccept'"
    assert typed.startswith("env /opt/py -m hpcaccept submit --launcher hosts --nodelist vm-0,vm-1 --gpus-per-node 8 ")
    assert "--runs-dir '/my runs/azure-" in typed
    assert typed.endswith("--suite standard --skip storage")
    assert "\033" not in capsys.readouterr().out


def test_nccl_is_the_suite_fabric_with_the_variables_and_limits_of_the_size(calls: Path) -> None:
    assert main(["azure", "nccl", CONFIG, "--shared", "/shared"]) == 1
    _, sent, typed = calls.read_text().splitlines()[:3]
    assert "cat >" in sent
    assert sent.endswith("/nccl.toml")
    suite = Path("h200/nccl.toml").read_text()
    assert suite.startswith(built_in()["fabric"].read_text())
    assert "[checks.nccl_tests_world]\nrequired = false\n" in suite
    assert '[limits."allreduce.busbw_bytes[nccl/1GiB]"]\nlower = 1.875e+11\n' in suite
    assert 'source = "hpcaccept\'s own: half of the network cards of a node; they allow 750 GB/s"' in suite
    assert typed.startswith("env NCCL_TOPO_FILE=/opt/microsoft/ndv5-topo.xml NCCL_SOCKET_IFNAME=eth0 ")
    assert typed.endswith("/nccl.toml")


@pytest.mark.parametrize(
    ("ended", "run", "code", "says"),
    [
        ("0", None, 0, "Here: h200/runs/"),
        ("1", None, 1, "Here: h200/runs/"),
        ("2", "", 2, ""),
        ("0", "", 0, ""),
        ("130", "", 130, ""),
        ("1", "", 3, "ended on vm-0 with 1 and left no run: that is not a verdict on a node"),
        ("127", "", 3, "ended on vm-0 with 127 and left no run"),
        ("137", None, 3, "ended on vm-0 with 137: that is not a verdict on a node"),
    ],
)
def test_exit_code_1_is_a_verdict_of_a_run_that_is_there(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ended: str, run: str | None, code: int, says: str
) -> None:  # fmt: skip
    monkeypatch.setenv("ENDED", ended)
    if run is not None:
        monkeypatch.setenv("RUN", run)
    assert main(["azure", "submit", CONFIG, "--shared", "/shared"]) == code
    captured = capsys.readouterr()
    assert says in captured.out + captured.err


@pytest.mark.parametrize("lacks", ["1", "127"])
def test_a_first_node_without_hpcaccept_is_told_before_anything_is_started(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lacks: str
) -> None:
    monkeypatch.setenv("LACKS", lacks)
    assert main(["azure", "submit", CONFIG, "--shared", "/shared", "--python", "/opt/py"]) == 3
    assert f"/opt/py on vm-0 cannot start hpcaccept: it ended with {lacks}" in capsys.readouterr().err
    assert "submit" not in calls.read_text()


def test_sizes_without_limits_run_nccl_tests_too_and_nodes_without_gpus_do_not(tmp_path: Path) -> None:
    assert submitting.nccl_suite(load_cluster(ROOT / "azure/gb300-rack.toml"), tmp_path) == str(tmp_path / "nccl.toml")
    text = (tmp_path / "nccl.toml").read_text()
    assert "[checks.nccl_tests_world]" in text
    assert "[limits." not in text
    assert submitting.nccl_suite(load_cluster(ROOT / "azure/dry-test.toml"), tmp_path) == "fabric"


def test_another_size_gets_no_variables_of_ndv5() -> None:
    assert submitting.nccl_environment(load_cluster(ROOT / "azure/gb300-rack.toml")) == {}
    assert submitting.nccl_environment(load_cluster(ROOT / "azure/dry-test.toml")) == {}


def test_a_node_that_is_not_identified_is_not_left_out(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = (Node("vm-0", "/vm/0", "id-0", "10.0.0.4", 50000, KEY), Node("vm-1", "/vm/1", "id-1", "10.0.0.5"))
    Path("h200", _FILE).write_text(dumps(_Kept(nodes)))
    assert main(["azure", "submit", CONFIG, "--shared", "/shared"]) == 3
    assert "vm-1 is not identified" in capsys.readouterr().err
    assert not calls.exists()


def test_a_run_whose_connection_was_lost_is_come_back_to_and_nothing_is_begun_beside_it(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENDED", "255")
    assert main(["azure", "submit", CONFIG, "--shared", "/shared", "--python", "/opt/py"]) == 3
    assert f"Come back with: hpcaccept azure wait {CONFIG}" in capsys.readouterr().err
    calls.unlink()
    assert main(["azure", "isolate", CONFIG, "--shared", "/shared", "--", "--check", "allreduce"]) == 3
    assert f"Bring it here: hpcaccept azure wait {CONFIG}" in capsys.readouterr().err
    assert not calls.exists()
    # Lost once more while it is waited for.
    assert main(["azure", "wait", CONFIG]) == 3
    monkeypatch.setenv("ENDED", "1")
    assert main(["azure", "wait", CONFIG]) == 1
    assert "Here: h200/runs/20261130-120000-standard-2n-abcd" in capsys.readouterr().out
    waited = [line for line in calls.read_text().splitlines() if " wait " in line]
    assert waited[0] == waited[1]
    assert waited[0].startswith("/opt/py -m hpcaccept wait 20261130-120000-standard-2n-abcd --runs-dir /shared/azure-")
    assert main(["azure", "wait", CONFIG]) == 2
    assert "h200 knows of no run that has not come here yet" in capsys.readouterr().err
    assert main(["azure", "submit", CONFIG, "--shared", "/shared"]) == 1


def test_where_the_first_node_is_gone_another_one_is_asked_for_what_it_has_left(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENDED", "255")
    assert main(["azure", "submit", CONFIG, "--shared", "/shared"]) == 3
    program = Path("bin/ssh")
    gone = SSH.replace("for last", 'for word; do [ "$word" != vm-0 ] || exit 255; done\nfor last', 1)
    program.write_text(gone)
    assert main(["azure", "wait", CONFIG]) == 3
    assert "--node NAME asks another one" in capsys.readouterr().err
    assert main(["azure", "wait", CONFIG, "--node", "vm-9"]) != 0
    monkeypatch.setenv("ENDED", "3")
    assert main(["azure", "wait", CONFIG, "--node", "vm-1"]) == 3
    assert "Here: h200/runs/20261130-120000-standard-2n-abcd" in capsys.readouterr().out
    assert main(["azure", "wait", CONFIG]) == 2


def test_a_client_that_was_killed_before_anything_began_is_told_so(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENDED", "255")
    monkeypatch.setenv("RUN", "")
    assert main(["azure", "submit", CONFIG, "--shared", "/shared"]) == 3
    monkeypatch.setattr(remote_run, "BEGIN_S", 0.0)
    assert main(["azure", "wait", CONFIG]) == 3
    assert "has not begun" in capsys.readouterr().err
    assert main(["azure", "wait", CONFIG]) == 2


def test_an_interrupted_client_says_how_to_come_back(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(remote_run, "follow_there", interrupted)
    assert main(["azure", "submit", CONFIG, "--shared", "/shared", "--folder", "h200"]) == 130
    assert f"Come back with: hpcaccept azure wait {CONFIG} --folder h200" in capsys.readouterr().out


def test_a_run_whose_files_do_not_come_stays_to_be_fetched(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUN", "20261130-120000-standard-2n-abcd")
    program = Path("bin/ssh")
    program.write_text(SSH.replace("echo run;;", "exit 255;;"))
    assert main(["azure", "submit", CONFIG, "--shared", "/shared"]) == 3
    assert "run.h5 could not be fetched from vm-0" in capsys.readouterr().err
    program.write_text(SSH)
    assert main(["azure", "wait", CONFIG]) == 1
    assert Path("h200/runs/20261130-120000-standard-2n-abcd/run.h5").read_text() == "run\n"


def test_an_isolation_runs_over_the_nodes_and_starts_from_a_run_of_theirs(
    calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = "20261129-120000-fabric-2n-0000"
    monkeypatch.setenv("OLD", old)
    words = ["--shared", "/shared", "--python", "/opt/py", "--run", old, "--", "--until", "0.9"]
    assert main(["azure", "isolate", CONFIG, *words]) == 1
    typed = next(line for line in calls.read_text().splitlines() if " isolate " in line)
    assert typed.startswith("env NCCL_TOPO_FILE=/opt/microsoft/ndv5-topo.xml ")
    assert typed.endswith(
        "/opt/py -m hpcaccept isolate --launcher hosts --nodelist vm-0,vm-1 --gpus-per-node 8 --runs-dir /shared/azure-0123abcd "
        f"--run {old} --until 0.9"
    )
    # The run that was there before is not taken for the new one.
    assert "Here: h200/runs/20261130-120000-standard-2n-abcd" in capsys.readouterr().out
    assert main(["azure", "isolate", CONFIG, "--shared", "/shared", "--run", "../x"]) == 2
