"""The real ``az``, in an environment of its own (``build/azure-cli``, 733 MB): a second witness. ``python -m support.azure_az`` makes it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from typing import TYPE_CHECKING

from support.arm_server import TENANT
from support.own_environment import ROOT, OwnEnvironment

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = OwnEnvironment(ROOT / "build" / "azure-cli", ("azure-cli",), "make azure-oracle", needs=("bin/az",))
why_not, make = ENVIRONMENT.why_not, ENVIRONMENT.make


def certificate(folder: Path) -> Path:
    """A key and a certificate of this machine, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "certificate.pem"
    file.touch(0o600)
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def environment(folder: Path, trusted: Path) -> dict[str, str]:
    """Variables of an az that knows nothing of this user, and trusts the server of the test."""
    (folder / "az").mkdir(exist_ok=True)
    return {
        **os.environ,
        "PATH": f"{ENVIRONMENT.folder / 'bin'}:{os.environ['PATH']}",
        "AZURE_CONFIG_DIR": str(folder / "az"),
        "REQUESTS_CA_BUNDLE": str(trusted),
        "AZURE_CORE_INSTANCE_DISCOVERY": "false",
        "AZURE_CORE_ENCRYPT_TOKEN_CACHE": "false",
        "AZURE_CORE_COLLECT_TELEMETRY": "false",
        "AZURE_CORE_NO_COLOR": "true",
    }


def log_in(url: str) -> str:
    """Shell lines by which az logs in to the server of a test."""
    endpoints = (
        "resource-manager",
        "active-directory",
        "active-directory-resource-id",
        "active-directory-graph-resource-id",
        "management",
    )
    register = " ".join(f"--endpoint-{each} {url}" for each in endpoints)
    return (
        f"az cloud register -n loop {register}\naz cloud set -n loop\n"
        f"az login --service-principal -u {TENANT} -p x --tenant {TENANT} --output none\n"
    )


if __name__ == "__main__":
    make()
