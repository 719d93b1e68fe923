"""Signs documents and verifies signatures: Ed25519 (RFC 8032) over canonical JSON, with a key file of the owner.

Canonical is what ``json`` writes with sorted keys, no spaces, UTF-8 and one newline at the end: one text per document, so
that a document which reads the same but was written anew is told from the one that was signed. Binary values are lower-case
hexadecimal, because base64 has several texts for the same bytes.

The private key is a PEM file (PKCS #8, no passphrase) that only its owner may read; it is never an argument of a command.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING, Any

from hpcaccept.bounded import open_regular, read_bytes
from hpcaccept.errors import StoreError, UsageError, install_hint
from hpcaccept.store.new_file import write_new

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "Ed25519"
#: Bytes of a PEM file; one of Ed25519 has some hundred.
_MOST_OF_A_KEY = 65_536


def canonical(document: object) -> bytes:
    """The one text of a document.

    Raises:
        ValueError: NaN or infinity, which are no JSON.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def make_key(file: Path) -> Path:
    """A new private key (0600) and beside it ``FILE.pub``; gives the latter. Both or none, and no existing file is ever overwritten.

    Raises:
        UsageError: there is such a file, it cannot be written (permission, a full disk), or the library for signing is not installed.
    """
    serialization, ed25519 = _library()
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    beside = file.with_name(file.name + ".pub")
    # The public one first: where there is a private key, the other half lies beside it.
    _keep(beside, public, 0o644)
    try:
        _keep(file, private, 0o600)
    except UsageError:
        beside.unlink()
        raise
    return beside


def _keep(path: Path, content: bytes, mode: int) -> None:
    try:
        write_new(path, content, mode)
    except FileExistsError:
        raise UsageError(f"{path} exists, and a key is never overwritten.", "Name another file.") from None
    except OSError as fault:
        raise UsageError(
            f"Cannot write {path}: {fault.strerror}. Nothing of the key was kept.", "Choose another place with --key."
        ) from fault


def read_private_key(file: Path) -> Ed25519PrivateKey:
    """The key of a file that nobody but its owner can read.

    Raises:
        UsageError: it is absent, others may read or own it, it has a passphrase, or it is not an Ed25519 key.
    """
    serialization, ed25519 = _library()
    try:
        with os.fdopen(open_regular(file, follow=True), "rb") as source:
            # Of the open file: between a look at a name and its opening another file may take the name.
            found = os.fstat(source.fileno())
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise UsageError(
                    f"{file} may be read by others (mode {stat.S_IMODE(found.st_mode):04o}).", f"chmod 600 {file}"
                )
            if found.st_uid not in (os.geteuid(), 0):
                raise UsageError(f"{file} belongs to user {found.st_uid}.", "Sign with a key of your own.")
            key = serialization.load_pem_private_key(source.read(_MOST_OF_A_KEY), None)
    except FileNotFoundError:
        raise UsageError(f"{file} does not exist.", f"hpcaccept certificate keygen --key {file}") from None
    except OSError as fault:
        raise UsageError(f"{file} cannot be read: {fault.strerror}.") from None
    except (ValueError, TypeError):
        raise UsageError(f"{file} is not a private key in PEM without a passphrase.") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"{file} is not an Ed25519 key.", f"hpcaccept certificate keygen --key {file}.new")
    return key  # type: ignore[no-any-return]


def read_public_key(file: Path) -> bytes:
    """The 32 bytes of a public key file.

    Raises:
        UsageError: it is absent or no public Ed25519 key.
    """
    serialization, ed25519 = _library()
    try:
        key = serialization.load_pem_public_key(read_bytes(file, follow=True, most=_MOST_OF_A_KEY))
    except OSError as fault:
        raise UsageError(f"{file} cannot be read: {fault.strerror}.") from None
    except (ValueError, TypeError):
        raise UsageError(f"{file} is not a public key in PEM.") from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise UsageError(f"{file} is not a public Ed25519 key.")
    return _raw(key)


def key_id(public: bytes) -> str:
    """Sixteen hexadecimal digits by which people tell keys apart."""
    return hashlib.sha256(public).hexdigest()[:16]


def sign(document: dict[str, Any], key: Ed25519PrivateKey) -> dict[str, str]:
    """The signature block of a document."""
    public = _raw(key.public_key())
    return {
        "algorithm": ALGORITHM,
        "key_id": key_id(public),
        "public_key": public.hex(),
        "value": key.sign(canonical(document)).hex(),
    }


def check_signature(document: object, signature: object) -> bytes:
    """The public key with whose private half the document was signed.

    Raises:
        StoreError: the signature does not fit the document, or is none.
    """
    _, ed25519 = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        if not isinstance(signature, dict) or set(signature) != {"algorithm", "key_id", "public_key", "value"}:
            raise ValueError("it has other fields")
        if signature["algorithm"] != ALGORITHM:
            raise ValueError(f"algorithm {signature['algorithm']!r} is not known")
        public = _bytes_of(signature["public_key"])
        if signature["key_id"] != key_id(public):
            raise ValueError("the name of the key is not that of the key")
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(_bytes_of(signature["value"]), canonical(document))
    except InvalidSignature:
        raise StoreError("The signature does not fit the document: one of them was changed.") from None
    except (ValueError, TypeError) as fault:
        raise StoreError(f"This is not a signature: {fault}.") from None
    return public


def _bytes_of(digits: str) -> bytes:
    """What ``bytes.hex`` wrote. ``fromhex`` alone takes spaces and capitals too: bytes that could be changed unnoticed."""
    found = bytes.fromhex(digits)
    if found.hex() != digits:
        raise ValueError("its digits are not written as they were")
    return found


def _raw(key: Ed25519PublicKey) -> bytes:
    serialization, _ = _library()
    raw: bytes = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return raw


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise UsageError("Signing needs the package cryptography.", install_hint("sign")) from None
    return serialization, ed25519
