"""Writes azure/cloud-init.yaml from the files of azure/node: python azure/build_cloud_init.py."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
NODE = HERE / "node"
TARGET = HERE / "cloud-init.yaml"

_HEAD = """\
#cloud-config
# Sets a node up: packages, local NVMe disks, persistence mode, health checks. Made of the files of azure/node by
# build_cloud_init.py: change them, not this file. Everybody who is root on a node can read it: no secrets.
package_update: true
packages: [inotify-tools, mdadm, ncdu, nload, tmux, tree, xfsprogs]
write_files:
"""
#: What is run once, at the first start.
_TAIL = """\
runcmd:
  - [/opt/first-start.sh, "2"]
"""


def build() -> str:
    """The whole of cloud-init.yaml."""
    # Python leaves byte code beside what a test has imported.
    files = sorted(path for path in NODE.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return _HEAD + "".join(map(_entry, files)) + _TAIL


def _entry(file: Path) -> str:
    text = file.read_text("utf-8")
    # What runs begins with #!; the rest is read by others.
    mode = "0755" if text.startswith("#!") else "0644"
    body = "".join(f"      {line}".rstrip() + "\n" for line in text.splitlines())
    return f'  - path: /{file.relative_to(NODE).as_posix()}\n    permissions: "{mode}"\n    content: |\n{body}'


if __name__ == "__main__":
    TARGET.write_text(build(), "utf-8")
