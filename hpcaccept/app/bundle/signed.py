"""Tells whether a bundle is what was packed, and by whom. One signed statement lies in it and has the SHA-256 of every other file; nothing is unpacked to look.

The statement also has the node's standing in the run, and the SHA-256 of the files of the run before redaction: whoever keeps the originals can
show later that these are they.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from typing import TYPE_CHECKING, Any

from hpcaccept.app.certificate import Verified
from hpcaccept.bounded import open_regular
from hpcaccept.errors import StoreError, UsageError
from hpcaccept.serial import loads
from hpcaccept.store.digests import changed
from hpcaccept.store.signing import canonical, check_signature, key_id, read_public_key, sign

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAME = "statement.json"
FORMAT, VERSION = "hpcaccept-bundle", 1
#: Bytes of all files together, and of one; files. What is larger was not packed here.
_MOST, _MOST_OF_A_FILE, _MOST_FILES = 2 << 30, 64 << 20, 200_000


def signed_statement(about: Mapping[str, Any], texts: Mapping[str, str], key: Ed25519PrivateKey) -> str:
    """The text of ``statement.json``.

    Args:
        about: what is stated of the run and the node.
        texts: path below the top folder → content of every other file.
        key: to sign with.
    """
    files = {path: hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() for path, text in texts.items()}
    statement = {"format": FORMAT, "version": VERSION, **about, "files": files}
    return canonical({"statement": statement, "signature": sign(statement, key)}).decode()


def verify(file: Path, public_key: Path | None) -> tuple[Verified, dict[str, Any]]:
    """Look at a bundle: what it states is only to be believed where nothing is bad.

    Args:
        file: the archive.
        public_key: of whom is trusted; None: who signed stays open.

    Raises:
        StoreError: it is no bundle, is not signed, or the signature does not fit.
        UsageError: it cannot be read, or the public key file is none.
    """
    trusted = read_public_key(public_key) if public_key else None
    found, raw = _digests(file)
    if not raw:
        raise StoreError(f"{file} is not signed.", "Pack it again with --key FILE.")
    statement, signer = _statement(file, raw)
    good, bad, still_open = ["The statement is what was signed."], [], []
    if trusted is None:
        still_open.append(f"Signed by key {key_id(signer)}: whose that is, only --public-key FILE can tell.")
    elif trusted == signer:
        good.append(f"Signed by key {key_id(signer)}, the one in {public_key}.")
    else:
        bad.append(f"Signed by key {key_id(signer)}, not by the one in {public_key}.")
    differences = changed(statement["files"], found)
    bad += [f"{what}: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}." for what, names in differences.items()]
    if not differences:
        good.append(f"Its {len(found)} files are unchanged.")
    return Verified(tuple(good), tuple(bad), tuple(still_open)), statement


def _statement(file: Path, raw: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        document = loads(raw)
        statement: dict[str, Any] = document["statement"]
        form = statement["format"], statement["version"], type(statement["files"])
        if canonical(document) != raw or set(document) != {"statement", "signature"} or form != (FORMAT, VERSION, dict):
            raise ValueError("it has another form")
    except (ValueError, KeyError, TypeError) as fault:
        raise StoreError(f"{NAME} of {file} is not a statement of version {VERSION}: {fault}.") from None
    return statement, check_signature(statement, document["signature"])


def _digests(file: Path) -> tuple[dict[str, str], bytes]:
    """Path below the top folder → SHA-256 of every file but the statement, and the statement (empty: none).

    Raises:
        StoreError: it is not an archive of this form: one folder, plain files, each once.
    """
    digests: dict[str, str] = {}
    raw = b""
    try:
        for path, content in _members(file):
            if path in digests or (path == NAME and raw):
                raise StoreError(f"{file} has {path} twice.")
            if path == NAME:
                raw = content
            else:
                digests[path] = hashlib.sha256(content).hexdigest()
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError) as fault:
        raise StoreError(f"{file} is not a bundle: {fault}.") from None
    except OSError as fault:
        if fault.errno is None:  # gzip's own: not a gzipped file, a checksum that is wrong
            raise StoreError(f"{file} is not a bundle: {fault}.") from None
        raise UsageError(f"{file} cannot be read: {fault.strerror}.") from None
    return digests, raw


def _members(file: Path) -> Iterator[tuple[str, bytes]]:
    total, top = 0, ""
    with (
        os.fdopen(open_regular(file, follow=True), "rb") as packed,
        gzip.GzipFile(fileobj=packed) as stream,
        tarfile.open(fileobj=stream, mode="r:") as archive,
    ):
        for number, member in enumerate(archive):
            folder, _, path = member.name.partition("/")
            top = top or folder
            total += member.size
            if not member.isreg() or not path or folder != top:
                raise StoreError(f"{file} is not a bundle: {member.name!r} is not a plain file in its one folder.")
            if member.size > _MOST_OF_A_FILE or total > _MOST or number >= _MOST_FILES:
                raise StoreError(f"{file} is not a bundle: it is larger than any that is packed.")
            content = archive.extractfile(member)
            yield path, content.read() if content else b""
        # To the end, where gzip has its checksum; an archive is padded with zeros.
        while rest := stream.read(1 << 20):
            total += len(rest)
            if rest.strip(b"\0") or total > _MOST:
                raise StoreError(f"{file} is not a bundle: something stands behind its last file.")
