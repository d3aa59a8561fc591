#!/usr/bin/env python3
"""A real Slurm on one machine: the way to try the cluster profile on a workstation.

    sudo cluster/testbed/testbed.py up        # installs Debian's packages, starts two nodes
    sudo cluster/testbed/testbed.py status
    sudo cluster/testbed/testbed.py down      # stops the daemons, removes their files

Every daemon is one of its own: munged, MariaDB, slurmdbd, slurmctld and a slurmd a node, all with
their files in one folder. Outside it there are only /etc/slurm and the nodes' names in /etc/hosts.
A Slurm that this script did not start is never touched. The nodes' GPUs are ordinary files: jobs
are given them, but nothing can compute on them. `down` leaves the installed packages.

Needs Debian 12 or Ubuntu, root, and nothing but Python's standard library.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import settings

PACKAGES = (
    "slurmctld",
    "slurmd",
    "slurmdbd",
    "slurm-client",
    "munge",
    "mariadb-server-core",
    "mariadb-client-core",  # also for mariadb-install-db, which reads its settings with it
    "procps",
)
HOSTS = Path("/etc/hosts")
HOSTS_MARK = "# FGD's Slurm testbed"
_PASSING_S = 3
_SUPERVISE = "until slurmctld -D -i; do sleep 1; done"


class TestbedError(Exception):
    """Something that the user has to mend."""


class MachineLacks(TestbedError):
    """This machine cannot have a testbed; it is no fault of the testbed's."""


def main() -> None:
    """Parse the command line and run the command."""
    parser = argparse.ArgumentParser(
        description="A real Slurm on one machine, to try the cluster profile."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up_parser = commands.add_parser("up", help="start it; what runs already stays")
    up_parser.add_argument("--nodes", type=int, default=2, help="number of nodes (2)")
    up_parser.add_argument("--gpus", type=int, default=2, help="GPUs a node (2)")
    commands.add_parser("down", help="stop it, and remove all but the installed packages")
    commands.add_parser("status", help="say what runs")
    for name in ("kill-node", "start-node", "restart-controller"):
        command = commands.add_parser(name, help="for experiments with failures")
        if name != "restart-controller":
            command.add_argument("node")
    arguments = vars(parser.parse_args())
    actions: dict[str, Callable[..., None]] = {
        "up": up,
        "down": down,
        "status": status,
        "kill-node": kill_node,
        "start-node": start_node,
        "restart-controller": restart_controller,
    }
    action = actions[arguments.pop("command")]
    try:
        action(**arguments)
    except MachineLacks as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(settings.MACHINE_LACKS)
    except TestbedError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd))} failed:\n{error.stdout or ''}")


def up(nodes: int, gpus: int) -> None:
    """Install what is missing, write the configuration and start every daemon."""
    if nodes < 1 or gpus < 0:
        raise TestbedError("at least one node, and no fewer than 0 GPUs")
    _need_root()
    _refuse_foreign()
    _install()
    if not settings.STATE.exists():
        _write_settings([f"n{number}" for number in range(1, nodes + 1)], gpus)
    elif not _alive("slurmctld"):
        # The machine was started anew, and may have another name and another /etc/hosts.
        _write_settings(**_state())
    state = _state()
    names = state["names"]
    if (len(names), state["gpus"]) != (nodes, gpus):
        print(f"It has {len(names)} nodes of {state['gpus']} GPUs; `down` it to change that.")
    _start_munged()
    _start_mariadbd()
    _start_slurmdbd()
    _start_slurmctld()
    for name in names:
        start_node(name)
    _wait_for("all nodes to be idle", lambda: _idle_nodes() == len(names), 60)
    status()


def down() -> None:
    """Stop every daemon of this testbed and remove its files."""
    _need_root()
    if not settings.ROOT.exists():
        print("The testbed is not up.")
        return
    _refuse_foreign()
    if settings.STATE.exists() and _alive("slurmctld"):
        subprocess.run(["scancel", "--user=root"], capture_output=True)
        subprocess.run(["scancel", "--state=PENDING,RUNNING,SUSPENDED"], capture_output=True)
        time.sleep(1)
    _stop_supervisor()
    for pidfile in settings.pidfiles():
        _stop(pidfile)
    _write_hosts([])
    for file in (settings.SLURM_CONF, settings.GRES_CONF, settings.DBD_CONF):
        file.unlink(missing_ok=True)
    shutil.rmtree(settings.ROOT)
    print("The testbed is down.")


def status() -> None:
    """Say which daemons run, and what Slurm says of its nodes."""
    if not settings.STATE.exists():
        print("The testbed is not up. To start it: sudo cluster/testbed/testbed.py up")
        return
    for pidfile in settings.pidfiles():
        print(f"{pidfile.stem:12} {'runs' if _alive(pidfile.stem) else 'is stopped'}")
    if _alive("slurmctld"):
        sinfo = ["sinfo", "--Node", "--format=%N %.6t %.4c %.8m %.8G %P"]
        print(_output(sinfo), end="")


def kill_node(node: str) -> None:
    """End a slurmd and everything it runs with SIGKILL, as a node that loses its power."""
    _need_root()
    pid = _pid(f"slurmd-{node}")
    if pid is None:
        raise TestbedError(f"slurmd-{node} does not run")
    for process in [pid, *_job_processes(node)]:
        _signal(process, signal.SIGKILL)


def start_node(node: str) -> None:
    """Start the slurmd of a node, if it does not run."""
    _need_root()
    if node not in _state()["names"]:
        raise TestbedError(f"no node {node}: the testbed has {', '.join(_state()['names'])}")
    if not _alive(f"slurmd-{node}"):
        _run(["slurmd", "-N", node])


def restart_controller() -> None:
    """Stop slurmctld and start it anew."""
    _need_root()
    _stop(settings.pidfile("slurmctld"))
    _start_slurmctld()


# --- What must be there before ---


def _need_root() -> None:
    if os.geteuid() != 0:
        raise MachineLacks("Slurm's daemons need root: sudo cluster/testbed/testbed.py ...")


def _refuse_foreign() -> None:
    """A Slurm of somebody else has our port, our folder /etc/slurm, or our daemons' names."""
    for file in (settings.SLURM_CONF, settings.DBD_CONF, settings.GRES_CONF):
        if file.exists() and settings.MARK not in file.read_text():
            raise MachineLacks(
                f"{file} was not written by the testbed: this machine has a Slurm already, "
                "which is left alone"
            )
    for daemon in ("slurmctld", "slurmdbd", "slurmd"):
        others = _foreign(daemon)
        if others:
            # A daemon that has just been started has processes that end at once.
            time.sleep(_PASSING_S)
            others &= _foreign(daemon)
        if others:
            raise MachineLacks(
                f"{daemon} runs (process {min(others)}) and was not started by the testbed; "
                "it is left alone"
            )


def _foreign(daemon: str) -> set[int]:
    """The processes of a daemon's name that are not ours."""
    return _running(daemon) - {_pid(path.stem) for path in settings.pidfiles()}


def _install() -> None:
    binaries = ["slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd"]
    binaries += ["mariadb", "my_print_defaults", "pgrep"]
    if all(shutil.which(binary, path=_PATH) for binary in binaries):
        return
    if shutil.which("apt-get") is None:
        raise MachineLacks(f"install these first (Debian's names): {' '.join(PACKAGES)}")
    print(f"Installing {' '.join(PACKAGES)} ...")
    # Debian's packages start their services when installed, which would be a second Slurm.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        _run(["apt-get", "update", "-qq"])
        options = ["-y", "-qq", "--no-install-recommends"]
        _run(["apt-get", "install", *options, *PACKAGES], DEBIAN_FRONTEND="noninteractive")
    finally:
        if ours:
            policy.unlink()


def _write_settings(names: list[str], gpus: int) -> None:
    settings.ROOT.mkdir(parents=True, exist_ok=True)
    for folder in ("ctld", "mysql", "log", "run"):
        (settings.ROOT / folder).mkdir(exist_ok=True)
    for name in names:
        (settings.ROOT / "spool" / name).mkdir(parents=True, exist_ok=True)
        for gpu in range(gpus):
            (settings.ROOT / f"{name}-gpu{gpu}").touch()
    settings.SLURM_CONF.parent.mkdir(exist_ok=True)
    host = socket.gethostname().split(".")[0]
    settings.SLURM_CONF.write_text(settings.slurm_conf(host, names, gpus))
    settings.GRES_CONF.write_text(settings.gres_conf(names, gpus))
    settings.DBD_CONF.write_text(settings.dbd_conf())
    settings.DBD_CONF.chmod(0o600)
    _write_hosts(names)
    # Last: it says that all the rest is there.
    settings.STATE.write_text(json.dumps({"names": names, "gpus": gpus}))


def _write_hosts(names: list[str]) -> None:
    """Let /etc/hosts have these nodes of the testbed, and no others."""
    before = HOSTS.read_text()
    lines = [line for line in before.splitlines() if HOSTS_MARK not in line]
    lines += [f"127.0.0.1 {name} {HOSTS_MARK}" for name in names]
    after = "".join(f"{line}\n" for line in lines)
    if after != before:
        # Not by renaming: in a container /etc/hosts is a mount.
        HOSTS.write_text(after)


# --- Daemons ---


def _start_munged() -> None:
    if _alive("munged"):
        return
    key = settings.ROOT / "munge.key"
    if not key.exists():
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
    _run(
        [
            "munged",
            "--force",  # root may run it, and its folder is not /run/munge
            f"--key-file={key}",
            f"--socket={settings.MUNGE_SOCKET}",
            f"--pid-file={settings.pidfile('munged')}",
            f"--log-file={settings.ROOT / 'log' / 'munged.log'}",
            f"--seed-file={settings.ROOT / 'munge.seed'}",
        ]
    )


def _start_mariadbd() -> None:
    if _alive("mariadbd"):
        return
    data, log = settings.ROOT / "mysql", settings.ROOT / "log" / "mariadbd.log"
    files = ["--no-defaults", f"--datadir={data}", "--user=root"]
    if not (data / "mysql").exists():
        authentication = "--auth-root-authentication-method=normal"
        _run(["mariadb-install-db", *files, "--skip-test-db", authentication])
    with log.open("a") as output:
        subprocess.Popen(
            [
                "mariadbd",
                *files,
                "--bind-address=127.0.0.1",
                f"--port={settings.DATABASE_PORT}",
                f"--socket={settings.ROOT / 'mysql.socket'}",
                f"--pid-file={settings.pidfile('mariadbd')}",
                "--innodb-buffer-pool-size=64M",
                "--innodb-lock-wait-timeout=900",
            ],
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=_environment(),
        )
    _wait_for("MariaDB to answer", lambda: _answers(settings.DATABASE_PORT), 60)


def _start_slurmdbd() -> None:
    if not _alive("slurmdbd"):
        # It would create its database itself, but with MariaDB 11.8 it dies when it has.
        create = f"CREATE DATABASE IF NOT EXISTS {settings.DATABASE}"
        socket_option = f"--socket={settings.ROOT / 'mysql.socket'}"
        _run(["mariadb", "--no-defaults", socket_option, "--user=root", "--execute", create])
        _run(["slurmdbd"])
    _wait_for("slurmdbd to answer", lambda: _answers(settings.DBD_PORT), 60)
    _wait_for("the accounting database", _has_accounting, 60)


def _start_slurmctld() -> None:
    if not _alive("slurmctld"):
        # As systemd does on a cluster: a controller that crashes is started anew. Slurm 22.05 can
        # crash when a job starts on a node that has just come back.
        _stop_supervisor()
        with (settings.ROOT / "log" / "supervisor.log").open("a") as output:
            process = subprocess.Popen(
                ["sh", "-c", _SUPERVISE],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=_environment(),
            )
        _supervisor_file().write_text(str(process.pid))
    _wait_for("slurmctld to answer", lambda: _succeeds(["scontrol", "ping"]), 60)


def _supervisor_file() -> Path:
    return settings.ROOT / "run" / "supervisor"


def _stop_supervisor() -> None:
    """End what would start slurmctld anew; slurmctld itself goes on."""
    try:
        pid = int(_supervisor_file().read_text())
        command = Path(f"/proc/{pid}/cmdline").read_text()
    except (OSError, ValueError):
        return
    if _SUPERVISE in command:  # a process number is used again
        _signal(pid, signal.SIGTERM)
        _wait_for("slurmctld's supervisor to end", lambda: not _runs(pid), 30)


def _has_accounting() -> bool:
    cluster = ["sacctmgr", "--immediate", "--quiet", "--noheader"]
    if not _succeeds([*cluster, "show", "cluster"]):
        return False
    if settings.CLUSTER not in _output([*cluster, "show", "cluster", "format=cluster%30"]):
        return _succeeds([*cluster, "add", "cluster", settings.CLUSTER])
    return True


def _idle_nodes() -> int:
    found = _output(["sinfo", "--Node", "--noheader", "--partition=main", "--format=%t"])
    for line in _output(["sinfo", "--Node", "--noheader", "--format=%N %t"]).splitlines():
        node, state = line.split()
        # Slurm drains a node that lost a job's processes; here a person would only resume it.
        if state.startswith(("down", "drain", "drng")):
            _succeeds(["scontrol", "update", f"nodename={node}", "state=resume"])
    return sum(state in ("idle", "mix", "alloc") for state in found.split())


# --- Processes ---

_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def _environment(**more: str) -> dict[str, str]:
    return os.environ | {"PATH": _PATH} | more


def _run(command: list, **environment: str) -> None:
    subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(**environment),
    )


def _output(command: list[str]) -> str:
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


def _answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _pid(daemon: str) -> int | None:
    """The process of a daemon of ours, if it runs."""
    try:
        pid = int(settings.pidfile(daemon).read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return None
    # A process number is used again; its name tells.
    return pid if name == daemon.split("-")[0][:15] else None


def _running(name: str) -> set[int]:
    """All processes of a name, ours or not."""
    found = subprocess.run(["pgrep", "-x", name], capture_output=True, text=True)
    return {int(pid) for pid in found.stdout.split() if _runs(int(pid))}


def _alive(daemon: str) -> bool:
    return _pid(daemon) is not None


def _job_processes(node: str) -> list[int]:
    """Slurm's step managers of a node, with the tasks below them."""
    found = []
    managers = subprocess.run(["pgrep", "slurmstepd"], capture_output=True, text=True).stdout
    for pid in map(int, managers.split()):
        tasks = _descendants(pid)
        if any(f"SLURMD_NODENAME={node}" in _environment_of(task) for task in tasks):
            found += [pid, *tasks]
    return found


def _environment_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:  # it has just ended
        return []


def _descendants(pid: int) -> list[int]:
    children = subprocess.run(["pgrep", "--parent", str(pid)], capture_output=True, text=True)
    found = []
    for child in map(int, children.stdout.split()):
        found += [child, *_descendants(child)]
    return found


def _stop(pidfile: Path) -> None:
    pid = _pid(pidfile.stem)
    if pid is None:
        return
    _signal(pid, signal.SIGTERM)
    try:
        # Not until its file is gone: slurmdbd removes that first.
        _wait_for(f"{pidfile.stem} to end", lambda: not _runs(pid), 30)
    except TestbedError:
        _signal(pid, signal.SIGKILL)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _state() -> dict:
    if not settings.STATE.exists():
        raise TestbedError("the testbed is not up")
    return json.loads(settings.STATE.read_text())


def _wait_for(what: str, condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TestbedError(
                f"waited {seconds} s for {what}; the logs are in {settings.ROOT / 'log'}"
            )
        time.sleep(0.3)


if __name__ == "__main__":
    main()
