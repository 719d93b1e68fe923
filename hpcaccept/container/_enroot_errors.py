"""What Enroot prints when it cannot import, unpack or start an image. Wording of Enroot 3.4 to 4.1, and of the tools it runs."""

from __future__ import annotations

from hpcaccept.container._fault import Sign

_CREDENTIALS = "Put credentials into ~/.config/enroot/.credentials (mode 0600), or check the image's name."
_IMPORT_ONCE = "Import the image once on the login node ('enroot/import IMAGE'), and name the .sqsh that it prints."

SIGNS = (
    Sign(
        "hook failed",
        r"\S+/hooks\.d/\S+ exited with return code|nvidia-container-cli: |Command not found: nvidia-container-cli|Unknown (NVIDIA|MELLANOX)",
        "a hook of Enroot failed on the node",
        "Run the hook named here by hand on that node; for 98-nvidia.sh: does nvidia-smi answer, is libnvidia-container installed?",
    ),
    Sign(
        "no runtime",
        r"Command not found: |\benroot(?:-\w+)?: (?:command )?not found",
        "Enroot, or a program that it needs, is not installed on the node",
        "Install the named program there (Enroot needs curl, jq, parallel, squashfs-tools, zstd; to start a .sqsh squashfuse and fuse-overlayfs).",
    ),
    Sign(
        "pull refused",
        r"returned error code: (?:401|403)\b|curl: \(22\).*\b(?:401|403)\b|requested access to the resource is denied|\bunauthorized: "
        r"|Could not parse authentication realm|Unsupported authentication method",
        "the registry refused the image",
        _CREDENTIALS,
    ),
    Sign(
        "pull refused",
        # Of a registry that wants a password by itself (Basic), Enroot 4.1 ends here without a word; where the password is in a file, it has said so.
        r"Authenticating with user: (?![\s\S]*(Authentication succeeded|\[INFO\] (?!Using credentials from file)))",
        "the registry refused the image",
        _CREDENTIALS,
        progress=True,
    ),
    Sign(
        "pull refused",
        r"returned error code: 429\b|curl: \(22\).*\b429\b|toomanyrequests",
        "the registry limits how often it is asked",
        _IMPORT_ONCE,
    ),
    Sign(
        "image missing",
        r"returned error code: 404\b|curl: \(22\).*\b404\b|manifest unknown|name unknown|No such image",
        "the registry does not know the image",
        "Check name and tag or digest: --container-image REGISTRY#PATH:TAG.",
    ),
    Sign(
        "image missing",
        r"Invalid image reference",
        "the image's name is not one that Enroot understands",
        "Write it as REGISTRY#PATH:TAG, REGISTRY#PATH@sha256:…, or as the path of a .sqsh.",
    ),
    Sign(
        "image missing",
        r"Invalid image format",
        "Enroot cannot read the file as a squashfs image",
        "Try on that node: unsquashfs -s IMAGE. If that program does not start there, install squashfs-tools again; else make the image again: "
        "'enroot/import IMAGE' prints the path of a good one.",
    ),
    Sign(
        "image missing",
        r"(No such file or directory|does not exist).*\.(sqsh|squashfs)\b|\.(sqsh|squashfs)\b.*(No such file or directory|does not exist)",
        "the image file does not exist where the ranks start",
        "Give a path on a file system that every node mounts.",
    ),
    Sign(
        "registry unreachable",
        r"Could not resolve host|[Cc]onnection (refused|timed out|reset)|Failed to connect|Couldn't connect to server|curl: \((5|6|7|28|35|52|56|60)\)"
        r"|SSL (certificate|connect)|returned error code: 5\d\d",
        "the registry cannot be reached from the nodes",
        _IMPORT_ONCE,
    ),
    Sign(
        "no space",
        r"No space left on device|[Dd]isk quota exceeded|File too large",
        "no space where images are unpacked",
        "Free ENROOT_DATA_PATH, ENROOT_CACHE_PATH, ENROOT_TEMP_PATH and Pyxis' runtime_path on the node, or point them elsewhere "
        "(enroot/enroot.conf.d); an image that is imported once ('enroot/import') needs only the first.",
    ),
    Sign(
        "mount failed",
        r"enroot-mount: |--container-mounts: (source path does not exist|invalid format)|could not add mount entry",
        "something that should be mounted into the container cannot be",
        "Name paths that exist on every node: --container-mounts SRC:DST; see the mount files of Enroot too (enroot/mounts.d).",
    ),
    Sign(
        "not permitted",
        r"failed to set capabilities|failed to create user namespace|enroot-nsenter: .*(not permitted|No space left)|kernel lacks support",
        "the node does not let users make namespaces, or Enroot lacks its capabilities",
        "On the node: sysctl user.max_user_namespaces greater than 0, on Debian and Ubuntu kernel.unprivileged_userns_clone=1, and the "
        "package enroot+caps; see how-to/enroot.md in the folder that 'hpcaccept files docs' prints.",
    ),
    Sign(
        "not permitted",
        r"(couldn't mkdir|mkdir: cannot create directory|couldn't chown|cannot (create|touch)|mktemp: failed).*(Permission denied|Read-only file system|No such file)",
        "a folder that Enroot or Pyxis keeps on the node cannot be made",
        "Look at ENROOT_RUNTIME_PATH, ENROOT_DATA_PATH, ENROOT_CACHE_PATH and Pyxis' runtime_path on that node (enroot/enroot.conf.d).",
    ),
    Sign(
        "not permitted",
        r"enroot-(?:aufs2ovlfs|mksquashovlfs): .*(?:not permitted|Permission denied)",
        "Enroot may not make the files of the image's layers",
        "Give Enroot its capabilities (package enroot+caps), and let ENROOT_TEMP_PATH and ENROOT_CACHE_PATH be folders on a disk of the node, not on a shared file system.",
    ),
    Sign(
        "not permitted",
        r"enroot-switchroot: failed to execute: (?!\S*python)\S+: Permission denied",
        "the image's first program may not be executed",
        "Is /bin/sh of the image executable, and is the file system of ENROOT_DATA_PATH mounted without noexec?",
    ),
    Sign(
        "does not start",
        r"line \d+: +\d+ Killed +",
        "a program of Enroot was killed: out of memory, or out of time",
        "See the node's kernel log; give the step more memory, or import the image once ('enroot/import').",
    ),
    Sign(
        "unpacking failed",
        r"could not create (character|block) device \S+, because you're not superuser",
        "the image holds device nodes, which only root can unpack",
        "Make it again without them: 'make sqsh' and 'enroot import' leave out what lies in /dev (mksquashfs … -wildcards -e 'dev/*').",
    ),
    Sign(
        "does not start",
        r"This account is currently not available",
        "Enroot starts the user's login shell, which lets nobody in",
        "Set ENROOT_LOGIN_SHELL no (enroot/enroot.conf.d/40-hpcaccept.conf does), or run as a user with a shell.",
    ),
    Sign(
        "not permitted",
        r"\bfuse: (device not found|failed to open|mount failed)",
        "Enroot cannot use FUSE on the node, with which it starts a .sqsh",
        "On the node: modprobe fuse, and /dev/fuse open to users (crw-rw-rw-). Pyxis unpacks the image instead: --container-runtime pyxis.",
    ),
    Sign(
        "unpacking failed",
        r"FATAL ERROR|[Ff]ailed to (?:read|mount|uncompress)|Checksum (?:mismatch|validation failed)|zstd: error|tar: .*[Ee]rror|gzip: "
        r"|squashfs\w*: .*(?:[Ee]rror|[Ff]ail|[Cc]annot)|uncompress failed",
        "the image could not be unpacked",
        "Is the .sqsh whole (unsquashfs -s IMAGE), and are squashfs-tools and zstd on the node? Else import it again: enroot/import.",
    ),
    Sign(
        "no runtime",
        r"couldn't execute enroot command",
        "Enroot, or a program that it needs, is not installed on the node",
        "Install the named program there, with those that Enroot needs: curl, jq, parallel, squashfs-tools, zstd.",
    ),
    Sign(
        "does not start",
        r"\[ERROR\]",
        "Enroot could not start the container",
        "The whole output of Enroot is under logs/.",
    ),
)  # fmt: skip
