"""What runs inside the image: the tests of one cell, one after the other, each in a process of its own with a time limit.

``python inside.py FOLDER`` reads ``inner.json`` there and adds a line to ``results.jsonl`` for each test. It is copied into the folder and started by the
image's own Python (3.8 or newer), which may have neither hpcaccept nor anything else: only the standard library is imported, and nbclient for notebooks.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Bytes of a log in which the end of an output is looked for.
_TAIL = 65536
#: Bytes of a log that are searched for what ``output`` wants.
_SEARCHED = 16 * 1024 * 1024
_HERE = str(Path(__file__).resolve())
#: What the process that imports prints before its versions.
_MARK = "hpcaccept-imported "
_LIBC = ctypes.CDLL(None)
#: Exit status of this file's own notebook process: a cell failed; nbclient is missing.
_NOTEBOOK_FAILED, _NO_NBCLIENT = 41, 42


def main(folder: str) -> None:
    """Run every test of the cell."""
    os.chdir(folder)
    inner = json.loads(Path("inner.json").read_text("utf-8"))
    # Whatever starts this again (a pod that was evicted) runs nothing twice.
    os.close(os.open("running", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    say({"facts": facts()})
    for test in inner["tests"]:
        began = time.monotonic()
        try:
            outcome, reason = run(test, inner["work"])
        except OSError as fault:
            outcome, reason = "ERROR", "{}: {}".format(test["kind"], fault)
        took = time.monotonic() - began
        say({"test": test["name"], "outcome": outcome, "reason": reason[:2000], "seconds": took, "log": log_of(test)})
    say({"end": True})


def say(line: dict[str, Any]) -> None:
    """One line, on the disk when it returns."""
    with Path("results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def log_of(test: dict[str, Any]) -> str:
    """Name of the log of a test."""
    return "test-{}.log".format(test["name"])


def facts() -> dict[str, str]:
    """What this image is, as it shows from inside."""
    found = {"image.python": platform.python_version(), "image.libc": " ".join(platform.libc_ver())}
    with contextlib.suppress(OSError):
        name = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text("utf-8", "replace"), re.M)
        if name:
            found["image.system"] = name.group(1)
    try:
        import hashlib
        from importlib import metadata

        packages = sorted({"{}=={}".format(d.metadata["Name"], d.version) for d in metadata.distributions()})
        found["image.packages"] = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:16]
        Path("packages.txt").write_text("\n".join(packages) + "\n", "utf-8")
    except Exception:  # noqa: BLE001 (an image whose packages cannot be listed is tried all the same)
        pass
    return found


def run(test: dict[str, Any], work: str) -> tuple[str, str]:
    """Outcome and reason of one test."""
    log = str(Path(log_of(test)).resolve())
    status = started(command_of(test), log, work or str(Path.cwd()), test["limit_s"])
    if status is None:
        return "FAIL", "it did not end within {:g} s".format(test["limit_s"])
    if test["kind"] == "imports":
        return of_imports(test, status, log)
    if test["kind"] == "suite":
        return of_suite(status, log)
    if test["kind"] == "notebook" and status in (_NOTEBOOK_FAILED, _NO_NBCLIENT):
        return ("FAIL" if status == _NOTEBOOK_FAILED else "ERROR"), last_line(log)
    if status:
        return "FAIL", "{}: {}".format(ended(status), last_line(log) or "no output")
    if test["output"] and not re.search(test["output"], read_some(log), re.M):
        return "FAIL", "nothing in its output matches {!r}; last line: {}".format(
            test["output"], last_line(log) or "none"
        )
    return "PASS", ""


def command_of(test: dict[str, Any]) -> list[str]:
    """Argument list of a test."""
    kind = test["kind"]
    if kind == "imports":
        return [sys.executable, _HERE, "--import", *test["imports"], "--", *test["versions"]]
    if kind == "suite":
        runs = str(Path("suite-{}".format(test["name"])).resolve())
        return [
            sys.executable, "-m", "hpcaccept", "submit", "--launcher", "local", "--nodes", "1", "--suite", test["suite"],
            "--gpus-per-node", str(test["gpus"]), "--runs-dir", runs,
        ]  # fmt: skip
    if kind == "script":
        return [sys.executable, test["script"], *test["arguments"]]
    if kind == "notebook":
        done = str(Path("test-{}.ipynb".format(test["name"])).resolve())
        return [sys.executable, _HERE, "--notebook", test["notebook"], done, str(test["cell_s"])]
    return list(test["command"])


def started(command: list[str], log: str, cwd: str, limit_s: float) -> int | None:
    """Exit status of a command, None where its time was over; nothing of its process group is left."""
    with Path(log).open("ab") as out:
        try:
            process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=end_with_us,
            )
        except OSError as fault:
            out.write((f"{command[0]}: {fault.strerror}\n").encode())
            return 127
        try:
            return process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def end_with_us() -> None:
    """Have the kernel end this process when the one that started it ends: PR_SET_PDEATHSIG, SIGKILL."""
    with contextlib.suppress(OSError, AttributeError):
        _LIBC.prctl(1, signal.SIGKILL)


def ended(status: int) -> str:
    """An exit status in words."""
    return f"ended by signal {-status}" if status < 0 else f"exit status {status}"


def of_imports(test: dict[str, Any], status: int, log: str) -> tuple[str, str]:
    """By what the process that imported has printed."""
    for line in reversed(read_some(log).splitlines()):
        if line.startswith(_MARK):
            found = json.loads(line[len(_MARK) :])
            break
    else:
        return "FAIL", "importing {}: {}: {}".format(
            ", ".join(test["imports"]), ended(status), last_line(log) or "no output"
        )
    wrong = list(found["failed"])
    for name, wanted in test["versions"].items():
        there = found["versions"].get(name)
        if there is None:
            wrong.append(f"{name} is not installed, expected {wanted}")
        elif not meets(there, wanted):
            wrong.append(f"{name} is {there}, expected {wanted}")
    return ("FAIL", "; ".join(wrong)) if wrong else ("PASS", "")


def meets(version: str, wanted: str) -> bool:
    """Whether a version meets ``>=2.5,<3``. Local parts (``+cu124``) count for ``===`` alone; pre-releases count as their release."""
    return all(_meets(version, each.strip()) for each in wanted.split(","))


def _meets(version: str, wanted: str) -> bool:
    sign = next(each for each in ("===", "==", "!=", ">=", "<=", ">", "<") if wanted.startswith(each))
    expected = wanted[len(sign) :].strip()
    if sign == "===":
        return version == expected
    there, limit = release(version), release(expected)
    if sign in ("==", "!="):
        same = there[: len(limit)] == limit if expected.endswith(".*") else padded(there, limit) == padded(limit, there)
        return same == (sign == "==")
    left, right = padded(there, limit), padded(limit, there)
    return {">=": left >= right, "<=": left <= right, ">": left > right, "<": left < right}[sign]


def release(version: str) -> list[int]:
    """``2.5.1+cu124`` → [2, 5, 1]."""
    begin = re.match(r"[\d.]*", version)
    return [int(part) for part in re.findall(r"\d+", begin.group(0) if begin else "")]


def padded(numbers: list[int], other: list[int]) -> list[int]:
    """With zeros, as long as the other."""
    return numbers + [0] * (len(other) - len(numbers))


def of_suite(status: int, log: str) -> tuple[str, str]:
    """By hpcaccept's own exit code: 1 is a FAIL verdict and nothing else."""
    if status == 0:
        return "PASS", ""
    text = read_some(log)
    if "No module named hpcaccept" in text:
        return "ERROR", "hpcaccept is not installed in this image: pip install it there, with its extra 'rank'"
    said = [line.strip() for line in text.splitlines() if line.strip()]
    why = next(
        (line for line in said if "NOT ACCEPTED" in line or "NOT JUDGED" in line or line.startswith("Error")), ""
    )
    return ("FAIL" if status == 1 else "ERROR"), "{}: {}".format(ended(status), why or last_line(log) or "no output")


def last_line(log: str) -> str:
    """The last line of an output that says something."""
    with Path(log).open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")[:500]


def read_some(log: str) -> str:
    """The beginning of an output."""
    with Path(log).open(encoding="utf-8", errors="replace") as file:
        return file.read(_SEARCHED)


def import_all(modules: list[str], distributions: list[str]) -> None:
    """Import each module, and say what failed and which versions there are."""
    import importlib
    import traceback

    failed = []
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException as fault:  # noqa: BLE001 (a module may raise whatever it likes, SystemExit too)
            traceback.print_exc()
            failed.append(f"import {name}: {type(fault).__name__}: {fault}")
    versions = {}
    for name in distributions:
        with contextlib.suppress(Exception):
            from importlib import metadata

            versions[name] = metadata.version(name)
    sys.stderr.flush()
    sys.stdout.write("\n" + _MARK + json.dumps({"failed": failed, "versions": versions}) + "\n")
    sys.stdout.flush()


def execute(notebook: str, done: str, cell_s: float) -> int:
    """Execute a notebook, keep it with its outputs, and say which cell failed."""
    try:
        import nbclient
        import nbformat
        from traitlets.config import Config
    except ImportError as fault:
        sys.stdout.write(f"nbclient is not installed in this image ({fault}): pip install nbclient ipykernel\n")
        return _NO_NBCLIENT
    nb: Any = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call,unused-ignore]
    at = [0]

    def remember(cell: Any, cell_index: int) -> None:
        at[0] = cell_index + 1

    # Over sockets of the file system, not of the network: nobody else on the machine can reach the kernel. Their paths may have 107 bytes.
    os.environ["JUPYTER_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="nb-")
    config = Config()
    config.KernelManager.transport = "ipc"
    place = {"metadata": {"path": str(Path.cwd())}}
    client = nbclient.NotebookClient(
        nb, timeout=cell_s, allow_errors=False, on_cell_start=remember, resources=place, config=config
    )
    why = ""
    try:
        client.execute()
    except nbclient.exceptions.CellTimeoutError:
        why = f"cell {at[0]} did not end within {cell_s:g} s"
    except nbclient.exceptions.CellExecutionError as fault:
        why = f"cell {at[0]}: {fault.ename}: {fault.evalue}"
    except Exception as fault:  # noqa: BLE001 (a kernel that does not start, or dies, raises of many kinds)
        said = str(fault).strip().splitlines()
        why = f"cell {at[0]}: the kernel: {type(fault).__name__}: {said[-1] if said else ''}"
    finally:
        shutil.rmtree(os.environ["JUPYTER_RUNTIME_DIR"], ignore_errors=True)
        nbformat.write(nb, done)  # type: ignore[no-untyped-call,unused-ignore]
    sys.stdout.write(why.replace("\n", " ") + "\n" if why else "")
    return _NOTEBOOK_FAILED if why else 0


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[0] == "--import":
        split = words.index("--")
        import_all(words[1:split], words[split + 1 :])
    elif words[0] == "--notebook":
        sys.exit(execute(words[1], words[2], float(words[3])))
    else:
        main(words[0])
