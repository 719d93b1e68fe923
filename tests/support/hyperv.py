"""Pools of Hyper-V's key-value exchange as hv_kvp_daemon writes them, whole and damaged, and the physical host that each names."""

from __future__ import annotations


def record(key: bytes, value: bytes) -> bytes:
    return key.ljust(512, b"\0") + value.ljust(2048, b"\0")


HOST = record(b"PhysicalHostName", b"BN9300-1")
POOLS = {
    "whole": (
        record(b"HostName", b"HV1") + HOST + record(b"PhysicalHostNameFullyQualified", b"BN9300-1.x"),
        "BN9300-1",
    ),
    "leftovers": (record(b"PhysicalHostName\0of old", b"ABC\0DEFGH"), "ABC"),
    "the last of many": (record(b"k", b"v") * 255 + HOST, "BN9300-1"),
    "twice the same": (HOST * 2, "BN9300-1"),
    "two hosts": (HOST + record(b"PhysicalHostName", b"OTHER") + HOST, ""),
    "an empty one among them": (HOST + record(b"PhysicalHostName", b""), ""),
    "another key only": (record(b"HostName", b"HV1"), ""),
    "the key as a value": (record(b"HostName", b"PhysicalHostName") + record(b"BN1", b"BN2"), ""),
    "the key inside a value": (record(b"a", b"\nPhysicalHostName\nBN1"), ""),
    "empty": (b"", ""),
    "one byte short": (HOST[:-1], ""),
    "one byte more": (HOST + b"\0", ""),
    "text without an end": (b"x" * 2560, ""),
    "key without an end": (b"PhysicalHostName".ljust(512, b"x") + b"BN1".ljust(2048, b"\0"), ""),
    "two lines": (record(b"PhysicalHostName", b"BN1\nhpcaccept:size X"), ""),
    "not ASCII": (record(b"PhysicalHostName", b"BN\xff\xfe1"), ""),
    "a command": (record(b"PhysicalHostName", b"$(id);`id` -n"), ""),
    "an escape": (record(b"PhysicalHostName", b"\x1b[2J"), ""),
    "blanks": (record(b"PhysicalHostName", b" BN1 "), ""),
    "too many records": (record(b"k", b"v") * 256 + HOST, ""),
}
