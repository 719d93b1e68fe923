"""How does `sacct` come to work? A MariaDB and a slurmdbd of the cluster's own, which nothing on the network reaches.

slurmdbd has no option for MariaDB's socket, but its client library takes the default socket from `MYSQL_UNIX_PORT`
(https://mariadb.com/docs/server/server-management/install-and-upgrade-mariadb/mariadb-environment-variables).
MariaDB lets the system's root in without a password, and only through that socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .daemons import program

if TYPE_CHECKING:
    from pathlib import Path

INSTALL_TIMEOUT_S = 60
DATABASE_NAME = "slurm_acct_db"


def install_command(database: Path) -> list[str]:
    """Creates an empty MariaDB in `database`/files; takes 1 to 2 s."""
    return [
        program("mariadb-install-db"),
        "--no-defaults",
        "--user=root",
        f"--datadir={database}/files",
        "--auth-root-authentication-method=socket",
        "--auth-root-socket-user=root",
        "--skip-test-db",
        "--skip-name-resolve",
        "--innodb-log-file-size=4M",
    ]


def mariadbd_command(database: Path) -> list[str]:
    """The database server, in the foreground. It may lose the last second when it crashes: it is thrown away anyway."""
    return [
        program("mariadbd"),
        "--no-defaults",
        "--user=root",
        f"--datadir={database}/files",
        f"--socket={socket_path(database)}",
        f"--pid-file={database}/mariadbd.pid",
        "--skip-networking",
        "--skip-log-bin",
        "--innodb-log-file-size=4M",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=0",
    ]


def create_command(database: Path) -> list[str]:
    """Makes Slurm's own, empty database.

    slurmdbd can do that itself, but not with the client library 3.4.9 (MariaDB 11.8.9, in Debian 13 and 26.05's sid): after the first
    connection, which finds no database, the second one takes every answer for too wide (error 5027) and slurmdbd ends.
    """
    return [
        program("mariadb"),
        "--no-defaults",
        "--user=root",
        f"--socket={socket_path(database)}",
        f"--execute=CREATE DATABASE {DATABASE_NAME}",
    ]


def socket_path(database: Path) -> Path:
    """Where the database server listens."""
    return database / "socket"


def setup_commands(cluster: str) -> list[list[str]]:
    """What an administrator types once: the cluster, one account, and root as its user."""
    sacctmgr = ["sacctmgr", "--immediate", "--quiet", "add"]
    return [
        [*sacctmgr, "cluster", cluster],
        [*sacctmgr, "account", "acceptance", "Description=acceptance", "Organization=hpcaccept"],
        [*sacctmgr, "user", "root", "Account=acceptance", "AdminLevel=Admin"],
    ]
