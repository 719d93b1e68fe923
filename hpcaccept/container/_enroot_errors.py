"""What does Enroot say when it cannot import, unpack or start an image? Wording of Enroot 3.4 to 4.1, and of the tools it runs."""

from __future__ import annotations

from hpcaccept.container._fault import Sign

_CREDENTIALS = "Put credentials into ~/.config/enroot/.credentials (mode 0600), or check the image's name."
_IMPORT_ONCE = "Import the image once on the login node ('enroot/import IMAGE'), and name the .sqsh that it prints."

SIGNS = (
    Sign(
        "pull refused",
        r"\[ERROR\].*(\b401\b|\b403\b|[Uu]nauthorized|denied)|Could not parse authentication realm|Unsupported authentication method",
        "the registry refused the image",
        _CREDENTIALS,
    ),
    Sign(
        "pull refused",
        # Of a registry that wants a password by itself (Basic), Enroot 4.1 ends here without a word.
        r"Authenticating with user: (?![\s\S]*(Authentication succeeded|\[INFO\]))",
        "the registry refused the image",
        _CREDENTIALS,
    ),
    Sign(
        "pull refused",
        r"\[ERROR\].*\b429\b|toomanyrequests",
        "the registry limits how often it is asked",
        _IMPORT_ONCE,
    ),
    Sign(
        "image missing",
        r"\[ERROR\].*(\b404\b|[Nn]ot [Ff]ound\b|manifest unknown|No such image)",
        "the registry does not know the image",
        "Check name and tag or digest: --container-image REGISTRY#PATH:TAG.",
    ),
    Sign(
        "image missing",
        r"Invalid image reference",
        "the image's name is none that Enroot understands",
        "Write it as REGISTRY#PATH:TAG, REGISTRY#PATH@sha256:…, or as the path of a .sqsh.",
    ),
    Sign(
        "image missing",
        r"Invalid image format",
        "the file is no squashfs image",
        "Make it again: 'enroot/import IMAGE' prints the path of a good one.",
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
        "hook failed",
        r"\S+/hooks\.d/\S+ exited with return code|nvidia-container-cli: |Command not found: nvidia-container-cli|Unknown (NVIDIA|MELLANOX)",
        "a hook of Enroot failed on the node",
        "Run the hook named here by hand on that node; for 98-nvidia.sh: does nvidia-smi answer, is libnvidia-container installed?",
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
        "unpacking failed",
        r"FATAL ERROR|unsquashfs|[Ff]ailed to (read|mount|uncompress)|squashfs|Checksum mismatch|zstd: error|tar: .*[Ee]rror|uncompress",
        "the image could not be unpacked",
        "Is the .sqsh whole (unsquashfs -s IMAGE), and are squashfs-tools and zstd on the node? Else import it again: enroot/import.",
    ),
    Sign(
        "no runtime",
        r"Command not found: |enroot: (command )?not found|couldn't execute enroot command",
        "Enroot, or a program that it needs, is not installed on the node",
        "Install the named program there (Enroot needs curl, jq, parallel, squashfs-tools, zstd).",
    ),
    Sign(
        "does not start",
        r"\[ERROR\]",
        "Enroot could not start the container",
        "The whole output of Enroot is under logs/.",
    ),
)  # fmt: skip
