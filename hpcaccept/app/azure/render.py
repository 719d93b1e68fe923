"""Turns a configuration into files to review and deploy. No dependency, no request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.bounded import read_bytes, read_text
from hpcaccept.config.toml import read_toml
from hpcaccept.errors import UsageError
from hpcaccept.provider.azure import env_file
from hpcaccept.provider.azure.config import Cluster, read_cluster
from hpcaccept.provider.azure.template import MOST_CUSTOM_DATA, as_text, render_parameters, render_template
from hpcaccept.store.shipped import SHARE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Of a configuration or a public key that people write.
_MOST_BYTES = 1024 * 1024
_KEY_KINDS = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-", "sk-ssh-ed25519@openssh.com")
#: Stands in parameters.json where no key is there yet.
NO_KEY = "REPLACE: ssh-ed25519 AAAA… (ssh-keygen -t ed25519)"


@dataclass(frozen=True)
class RenderedCluster:
    """What ``render`` writes.

    Attributes:
        template: of ``template.json``.
        parameters: of ``parameters.json``.
        cloud_init: bytes of ``cloud-init.yaml``; None where the configuration names none.
    """

    template: dict[str, Any]
    parameters: dict[str, Any]
    cloud_init: bytes | None

    @property
    def files(self) -> dict[str, bytes]:
        """Name → content."""
        texts = {"template.json": as_text(self.template), "parameters.json": as_text(self.parameters)}
        more = {} if self.cloud_init is None else {"cloud-init.yaml": self.cloud_init}
        return {**{name: text.encode() for name, text in texts.items()}, **more}


def load_cluster(file: Path, allow_ssh_from: tuple[str, ...] = ()) -> Cluster:
    """The cluster that a TOML or ``.env`` file describes.

    Args:
        file: ends in ``.env`` for the form of shell scripts.
        allow_ssh_from: ranges of the command line; they replace those of the file.

    Raises:
        UsageError: it cannot be read, or is wrong; the message has file and key.
    """
    tables: Mapping[str, Any]
    try:
        if file.suffix == ".env":
            tables = env_file.tables_of(read_text(file, follow=True, most=_MOST_BYTES), str(file))
        else:
            tables = read_toml(file)
        if allow_ssh_from and isinstance(tables.get("network", {}), dict):
            tables = {**tables, "network": {**dict(tables.get("network", {})), "allow_ssh_from": list(allow_ssh_from)}}
        return read_cluster(tables, file.absolute().parent, shipped_cloud_init())
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(f"Cannot read {file}: {getattr(fault, 'strerror', None) or fault}.") from None
    except UsageError as fault:
        if str(file) in fault.message:
            raise
        message, remedy = fault.message, fault.remedy
        if file.suffix == ".env":
            message = env_file.in_its_words(message)
            remedy = remedy.replace('allow_ssh_from = ["203.0.113.7/32"]', "ALLOW_SSH_FROM=203.0.113.7/32")
        raise UsageError(f"{file}: {message}", remedy) from None


def shipped_cloud_init() -> Path | None:
    """The cloud-init that comes with hpcaccept, where this installation has it."""
    found = SHARE / "azure" / "cloud-init.yaml"
    return found if found.exists() else None


def render_cluster(cluster: Cluster, public_key: str = "", **more: str) -> RenderedCluster:
    """Template, parameters and cloud-init of a cluster.

    Args:
        cluster: a checked configuration.
        public_key: the line of an OpenSSH public key; empty: that of the configuration's file.
        more: values of the template's other parameters.

    Raises:
        UsageError: a file that it names cannot be read, or is none of that kind.
    """
    key = public_key or (read_public_key(cluster.ssh_public_key) if cluster.ssh_public_key else NO_KEY)
    cloud_init = _cloud_init(cluster)
    return RenderedCluster(render_template(cluster), render_parameters(key, cloud_init, **more), cloud_init)


def read_public_key(file: Path) -> str:
    """The line of an OpenSSH public key.

    Raises:
        UsageError: the file cannot be read, or holds something else; a private key is never quoted.
    """
    try:
        text = read_text(file, follow=True, most=_MOST_BYTES).strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(f"cluster.ssh_public_key: cannot read {file}: {getattr(fault, 'strerror', fault)}.") from None
    words = text.split()
    if "\n" in text or len(words) < 2 or not words[0].startswith(_KEY_KINDS):
        raise UsageError(
            f"cluster.ssh_public_key: {file} is not an OpenSSH public key.", f"Name the other half: {file}.pub"
        )
    return text


def _cloud_init(cluster: Cluster) -> bytes | None:
    if cluster.cloud_init is None:
        return None
    try:
        found = read_bytes(cluster.cloud_init, follow=True, most=16 * MOST_CUSTOM_DATA)
    except OSError as fault:
        raise UsageError(f"cluster.cloud_init: cannot read {cluster.cloud_init}: {fault.strerror}.") from None
    if not found.startswith((b"#", b"\x1f\x8b")):
        raise UsageError(
            f"cluster.cloud_init: {cluster.cloud_init} begins with neither #cloud-config nor #!, so cloud-init would ignore it."
        )
    return found
