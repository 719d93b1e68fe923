"""A key pair and a certificate for one server process, made where it runs and never sent anywhere."""

from __future__ import annotations

import hashlib
import ssl
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.transport.process import ask

if TYPE_CHECKING:
    from pathlib import Path

_DAYS = 30


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate (ECDSA, P-256) and its key, in a folder that only its owner can enter.

    By the program ``openssl``: Python's ``ssl`` makes none.

    Returns:
        Files of the certificate and of the key, both PEM.

    Raises:
        LaunchError: there is no ``openssl``, or it refused.
    """
    folder.chmod(0o700)
    certificate, key = folder / "tester.crt", folder / "tester.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", str(_DAYS), "-subj", "/CN=hpcaccept tester", "-keyout", str(key), "-out", str(certificate)]
    done = ask(command)
    if not done.ok:
        raise LaunchError(f"openssl made no certificate: {done.stderr.strip()[-300:]}", "Install openssl in the image.")
    key.chmod(0o600)
    return certificate, key


def fingerprint_of(certificate: Path) -> str:
    """SHA-256 of a PEM file's certificate in DER, hexadecimal: what a client sees of it."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text("ascii"))).hexdigest()
