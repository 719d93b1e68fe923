"""Why a machine is not verified: one code for each reason; the table of ``docs/reference/vast-codes.md``.

Four outcomes: **verified**; **failed**: a measured fault of the machine or of what its host provides; **refuted**: the machine's answers contradict
its claim to have computed something; **inconclusive**: nothing can be said. Time-outs and network faults are inconclusive: they accuse nobody. ``failed`` and
``refuted`` are FAIL verdicts (exit code 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["verified", "failed", "refuted", "inconclusive"]
OUTCOMES: tuple[Outcome, ...] = ("verified", "failed", "refuted", "inconclusive")


@dataclass(frozen=True)
class Failure:
    """One reason.

    Attributes:
        code: stays what it is; programs may compare it.
        outcome: what it makes of the machine.
        stage: where it shows.
        summary: a sentence.
        remedy: what to do, and who.
    """

    code: str
    outcome: Outcome
    stage: str
    summary: str
    remedy: str


VERIFIED = "verified"
_RETRY = "Try again; one sample accuses nobody."
_OFFER, _RENT, _LOAD, _REACH, _TESTS, _PROOF, _END = (
    "offer", "rent", "load", "connect", "tests", "proof", "end"
)  # fmt: skip
_TABLE = (
    # Before anything is rented.
    Failure("no-offer", "inconclusive", _OFFER, "The machine has no offer that can be rented now.", "Wait until it is listed and free: hpcaccept vast search 'machine_id=N rentable=any rented=any'."),
    Failure("offer-unreadable", "inconclusive", _OFFER, "The marketplace lists the machine without a price, an identity or a GPU model that can be read.", _RETRY),
    Failure("requirement-missed", "failed", _OFFER, "What the machine's own listing says does not meet the requirements.", "The host: hpcaccept vast check N says which, and by how much. Other requirements: --requirements."),
    Failure("requirement-unknown", "inconclusive", _OFFER, "The listing lacks a number that a requirement is about.", "Wait until Vast.ai has measured the machine; hpcaccept vast check N."),
    Failure("over-price", "inconclusive", _OFFER, "The offer costs more per hour than --max-price allows.", "Raise --max-price, or leave the machine out."),
    Failure("cap-money", "inconclusive", _OFFER, "What is left of --max-usd does not cover another rental of this machine.", "Raise --max-usd; a resumed run goes on with the machines that are left."),
    Failure("cap-hours", "inconclusive", _OFFER, "What is left of --max-hours does not cover another rental.", "Raise --max-hours; a resumed run goes on with the machines that are left."),
    Failure("no-image", "inconclusive", _OFFER, "No image suits the machine's CUDA version and GPUs.", "The host: update the driver. CUDA 11.8 is the oldest that there are images of."),
    # Renting.
    Failure("offer-gone", "inconclusive", _RENT, "Somebody else rented the machine first, or its offer ended.", _RETRY),
    Failure("create-refused", "inconclusive", _RENT, "Vast.ai refused to rent the machine.", "Read its words: credit, a limit of the account or the image's name may be the reason."),
    Failure("create-unanswered", "inconclusive", _RENT, "Renting was not answered, and no instance with this rental's label came up.", "hpcaccept vast status: look once more in some minutes."),
    Failure("price-differs", "inconclusive", _RENT, "The instance costs more than its offer did; it was destroyed.", "Look at the offer again: hpcaccept vast search machine_id=N."),
    Failure("price-increase", "inconclusive", _RENT, "The host asked for a higher price and it could not be rejected; the instance was destroyed.", "Leave the machine out, or try again."),
    Failure("key-refused", "inconclusive", _RENT, "Vast.ai did not accept the key for this request.", "Use a key that may rent and destroy: https://cloud.vast.ai/manage-keys."),
    Failure("throttled", "inconclusive", _RENT, "Vast.ai asked to wait for longer than a client does.", "Try again later, with fewer machines at once (--at-once)."),
    Failure("quota-spent", "inconclusive", _RENT, "The account's daily quota of requests is spent.", "Try again after 00:00 UTC."),
    Failure("api-silent", "inconclusive", _RENT, "Vast.ai did not answer, or not in a form that can be read.", _RETRY),
    # Until the container runs.
    Failure("load-timeout", "inconclusive", _LOAD, "The image was not loaded and started within --load-timeout.", "The host: look at disk and download. A registry may be slow too: try again."),
    Failure("image-refused", "inconclusive", _LOAD, "The image could not be pulled: it is not there, or not for everybody.", "Look at --image: its name, and whether the registry gives it to everybody."),
    Failure("docker-daemon", "failed", _LOAD, "The machine's container daemon does not run.", "The host: systemctl status docker."),
    Failure("oci-runtime", "failed", _LOAD, "The machine cannot start a container with its GPUs.", "The host: reinstall the NVIDIA container toolkit, and look at the driver."),
    Failure("disk-full", "failed", _LOAD, "The machine has no space for the image, though its offer has.", "The host: free what the offer promises."),
    Failure("start-failed", "inconclusive", _LOAD, "The instance reports an error instead of starting.", "Read its words; hpcaccept vast verify keeps its log in the run's folder."),
    Failure("machine-offline", "failed", _LOAD, "The machine went offline while it was rented.", "The host: power and network."),
    Failure("container-exited", "inconclusive", _LOAD, "The container ended by itself.", "Read its log in the run's folder: the image may lack the tester, or pip could not install what hpcaccept needs."),
    Failure("instance-unknown", "inconclusive", _LOAD, "Vast.ai lost track of the instance.", _RETRY),
    Failure("instance-vanished", "inconclusive", _LOAD, "The instance is no longer in the account, and this run did not destroy it.", "Was it destroyed by hand? Try again."),
    Failure("no-address", "failed", _LOAD, "The instance runs and has no public address.", "The host: look at the network that the machine is behind."),
    Failure("port-not-mapped", "failed", _LOAD, "The instance runs and its port is not mapped, though the offer has direct ports.", "The host: open and forward the port range that is listed."),
    # Reaching the tester.
    Failure("tester-unreachable", "inconclusive", _REACH, "Nothing answers at the machine's address and port.", "The host: forward the port range. This network may block it too: try from elsewhere."),
    Failure("wrong-certificate", "inconclusive", _REACH, "Whoever answers at the machine's address does not know the key that was made for this rental.", "It is not the tester, or somebody is in between: do not send data to this machine. The token was not sent."),
    Failure("token-refused", "inconclusive", _REACH, "The tester does not accept this rental's token.", "Is the image's tester of this version of hpcaccept?"),
    Failure("tester-silent", "inconclusive", _REACH, "The tester did not answer, or began with no line, for longer than --silence allows while the instance ran.", _RETRY),
    Failure("tester-form", "inconclusive", _REACH, "The tester answers in another form than agreed, too slowly or too much.", "Is the image's tester of this version of hpcaccept?"),
    # What the tester measures.
    Failure("test-timeout", "inconclusive", _TESTS, "The tests were not done within --test-timeout.", "Raise --test-timeout for machines with many GPUs."),
    Failure("gpus-missing", "failed", _TESTS, "The machine has fewer GPUs than its offer, or none.", "The host: nvidia-smi, dmesg, power and risers."),
    Failure("gpus-differ", "failed", _TESTS, "The machine's GPUs are not all of one model, or not of the model of its offer.", "The host: list GPUs of one model."),
    Failure("memory-taken", "failed", _TESTS, "Less than 98 % of the GPUs' memory is free.", "The host: end what else runs on the GPUs."),
    Failure("ram-short", "failed", _TESTS, "The machine has less RAM than its GPUs have memory.", "The host: add RAM, or offer fewer GPUs."),
    Failure("cores-short", "failed", _TESTS, "The machine has fewer than two cores for each GPU.", "The host: give the offer more cores."),
    Failure("resnet-failed", "failed", _TESTS, "ResNet did not run, or computed a wrong result, on a GPU.", "The host: look at the GPU that is named."),
    Failure("ecc-failed", "failed", _TESTS, "Memory did not read back what was written to it.", "The host: replace the GPU that is named."),
    Failure("nccl-failed", "failed", _TESTS, "The GPUs cannot reduce with each other.", "The host: look at IOMMU, ACS and the links between the GPUs."),
    Failure("stress-failed", "failed", _TESTS, "The machine lost a GPU or slowed down while CPUs and GPUs worked together.", "The host: power supply and cooling."),
    Failure("burn-failed", "failed", _TESTS, "A GPU computed wrong results under load.", "The host: replace the GPU that is named."),
    Failure("test-failed", "failed", _TESTS, "A test of the suite failed.", "The host: the result names test and GPU."),
    Failure("not-judged", "inconclusive", _TESTS, "The tests ran and not all of what is required could be judged.", "The result says what is missing; a rate without a limit, a peak or a baseline is given a limit in a suite of one's own (--suite FILE.toml)."),
    Failure("tester-crashed", "inconclusive", _TESTS, "The tester ended with an error of its own.", "Read its log in the run's folder, and report it."),
    # What is proved.
    Failure("proof-wrong", "refuted", _PROOF, "What the machine sent is not what the challenge gives: its work was not done, or not rightly.", "hpcaccept vast audit TRANSCRIPT shows it to anybody."),
    Failure("proof-forged", "refuted", _PROOF, "The machine's answers do not belong to what it had committed to.", "hpcaccept vast audit TRANSCRIPT shows it to anybody."),
    Failure("proof-late", "inconclusive", _PROOF, "The commitment came after the deadline by this side's clock.", "Slower than its offer claims, or the network is: try again."),
    Failure("proof-missing", "inconclusive", _PROOF, "The machine did not answer the challenge.", "Is the image's tester of this version of hpcaccept?"),
    Failure("claim-refuted", "refuted", _PROOF, "What was proved is below what the offer claims.", "Compare: hpcaccept vast check N."),
    # The end.
    Failure("money-spent", "inconclusive", _END, "The account's charges reached --max-usd; everything of this run was destroyed.", "Raise --max-usd; a resumed run goes on with the machines that are left."),
    Failure("interrupted", "inconclusive", _END, "The run was interrupted; the instance was destroyed.", "hpcaccept vast verify --resume RUN goes on."),
    Failure("client-died", "inconclusive", _END, "The client that rented the machine ended; the instance was removed afterwards.", "hpcaccept vast verify --resume RUN has tried no machine twice; name it again."),
    Failure("own-fault", "inconclusive", _END, "hpcaccept itself failed while the machine was rented; the instance was destroyed.", "Report it, with the bundle: hpcaccept vast bundle FOLDER."),
    Failure("destroy-unverified", "inconclusive", _END, "The instance could not be destroyed, or its end could not be seen in the account's list. IT MAY BE BILLED.", "hpcaccept vast reap --run RUN --yes, or https://cloud.vast.ai/instances."),
)  # fmt: skip
FAILURES = {each.code: each for each in _TABLE}
#: Beginning of a status message → code. Vast.ai passes on what the container daemon of the host says.
_MESSAGES = (
    ("cannot connect to the docker daemon", "docker-daemon"),
    ("no space left", "disk-full"),
    ("oci runtime", "oci-runtime"),
    ("nvidia-container-cli", "oci-runtime"),
    ("unable to find image", "image-refused"),
    ("manifest unknown", "image-refused"),
    ("manifest for", "image-refused"),
    ("pull access denied", "image-refused"),
    ("invalid reference", "image-refused"),
)
_STATES = {"offline": "machine-offline", "exited": "container-exited", "unknown": "instance-unknown"}


def of_state(status: str) -> str:
    """The code for an ``actual_status`` that never becomes ``running``."""
    return _STATES.get(status, "start-failed")


def of_message(message: str) -> str:
    """The code for a ``status_msg`` that says why a start failed."""
    lower = message.lower()
    return next((code for sign, code in _MESSAGES if sign in lower), "start-failed")


def outcome_of(code: str) -> Outcome:
    """What a code makes of a machine; an unknown one says nothing of it."""
    if code == VERIFIED:
        return "verified"
    return FAILURES[code].outcome if code in FAILURES else "inconclusive"


def exit_code(codes: list[str]) -> int:
    """0: all are verified; 1: one is failed or refuted; 3: anything else, and nothing at all."""
    outcomes = {outcome_of(each) for each in codes}
    if outcomes & {"failed", "refuted"}:
        return 1
    return 0 if outcomes == {"verified"} else 3


def as_markdown() -> str:
    """``docs/reference/vast-codes.md``."""
    lines = [
        "# Why a rented machine is not verified",
        "",
        "`hpcaccept vast verify` gives each machine one of four outcomes, and each reason one code that stays what it is. Written by `hpcaccept vast codes`.",
        "",
        "**verified**: the proof holds, and every check of the suite was judged and passed. **failed**: a measured fault of the machine or of what its host provides. **refuted**: its answers contradict its claim.",
        "**inconclusive**: nothing can be said; time-outs and network faults accuse nobody. Exit code 0: all verified; 1: one failed or refuted; 3: anything else.",
        "",
        "| code | outcome | stage | what it means | what to do |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| `{each.code}` | {each.outcome} | {each.stage} | {each.summary} | {each.remedy} |" for each in _TABLE]
    return "\n".join(lines) + "\n"
