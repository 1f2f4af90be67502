#!/usr/bin/env python3
"""Both commands of the README on fresh machines: bare Debians in folders, with what the README asks for, no more.

    .ci/fresh_machines.py                                       # all of it, as root; about an hour on two cores
    .ci/fresh_machines.py bookworm --user root --command run    # one of them

Each suite is made by debootstrap, from the mirror that this machine's apt uses. For each user a copy of it gets a clone
of the commit that is checked out here, and this machine's settings for names, proxies, certificates and the package
index. The commands run in namespaces of their own for mounts and processes, which are gone when the first process in
them is, however that ends. There is no Debian with Python 3.12: the workflow has a container with that one.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "build" / "fresh-machines"
SUITES = ("bookworm", "trixie", "sid")
PACKAGES = ("ca-certificates", "git", "make", "python3", "python3-venv")
USERS = {"root": "/root", "user": "/home/user"}
"""Who runs the commands, and where they live."""
SETTINGS = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE")
"""How variables begin that say how to reach a package index; those that name a proxy end alike."""
COLUMNS = ("python", "make run", "make test installs", "make test runs", "tests")

# A machine has these, and a bare folder has not. The shell stays: it is the first process, and collects orphans.
ENTER = """
set -e
machine=$1 user=$2; shift 2
mount -t proc proc "$machine/proc"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$machine/dev/pts"
mount -t tmpfs -o mode=1777 shm "$machine/dev/shm"
chroot --userspec="$user:$user" "$machine" "$@" || exit
"""


def main() -> int:
    """Make the machines one after the other, run the commands in each, and print a table."""
    options = arguments()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        sys.exit("It takes root and debootstrap (Debian: apt-get install debootstrap)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    LOGS.mkdir(parents=True, exist_ok=True)
    commit = output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD").strip()
    results = []
    # Not in /tmp, where devices may be out of use.
    with tempfile.TemporaryDirectory(prefix="fresh-machines-", dir="/var/tmp") as folder:
        for suite in options.suites or SUITES:
            base = Path(folder) / suite
            bootstrap(suite, base, options.mirror or mirror())
            for user in options.user or USERS:
                machine = Path(folder) / f"{suite}-{user}"
                subprocess.run(["cp", "--archive", "--reflink=auto", base, machine], check=True)
                result = try_out(machine, user, options.command)
                print(f"{suite}, {user}: {result}", flush=True)
                results.append((suite, user, result))
                shutil.rmtree(machine)
            shutil.rmtree(base)
    print(f"\nCommit {commit}, {os.cpu_count()} cores, logs in {LOGS.relative_to(ROOT)}:\n")
    print("| Debian | as |", *(f"{name} |" for name in COLUMNS))
    print("|---|---|" + "---|" * len(COLUMNS))
    for suite, user, result in results:
        print(f"| {suite} | {user} |", *(f"{result.get(name, '-')} |" for name in COLUMNS))
    return 0 if all(result["passed"] for _, _, result in results) else 1


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"(default: {' '.join(SUITES)})")
    parser.add_argument("--user", action="append", choices=USERS, help="who runs the commands (default: both)")
    parser.add_argument("--command", action="append", choices=("run", "test"), help="(default: both)")
    parser.add_argument("--mirror", metavar="URL", help="where packages come from (default: as this machine's apt)")
    return parser.parse_args()


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def mirror() -> str:
    """Where this machine's apt gets Debian from."""
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    for target in output("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)").splitlines():
        url, *which = target.split()
        if which == [release, "main"] and url.startswith(("http:", "https:", "file:")):
            return url
    sys.exit("This machine's apt names no mirror of Debian: say one with --mirror")


def bootstrap(suite: str, folder: Path, url: str) -> None:
    """Make a bare Debian in a folder, with an unprivileged user."""
    print(f"{suite}: debootstrap", flush=True)
    proxy = output("apt-config", "shell", "proxy", "Acquire::http::Proxy").strip().removeprefix("proxy=").strip("'")
    environment = os.environ | ({"http_proxy": proxy} if proxy else {})
    options = ("--variant=minbase", f"--include={','.join(PACKAGES)}")
    log = LOGS / f"{suite}.log"
    with log.open("w") as file:
        done = subprocess.run(
            ["debootstrap", *options, suite, folder, url],
            check=False,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    if done.returncode:
        sys.exit(f"debootstrap failed, see {log}")
    subprocess.run(["chroot", folder, "useradd", "--create-home", "user"], check=True)


def try_out(machine: Path, user: str, commands: list[str] | None) -> Mapping[str, str | bool]:
    """Run the commands in a machine, as a user, from a clean clone."""
    environment = {
        "HOME": USERS[user],
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **settings(machine),
    }
    # A bundle, because git does not clone what belongs to somebody else.
    output("git", "-C", str(ROOT), "bundle", "create", "--quiet", str(machine / "source.bundle"), "HEAD")
    script = f"""
        cd && git -c advice.detachedHead=false clone --quiet /source.bundle gateway && cd gateway &&
        .ci/both_commands.py --result ~/result {" ".join(commands or ())}"""
    # Each is killed with the one before it, beginning with this script.
    spaces = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    command = [*spaces, "bash", "-c", ENTER, "enter", str(machine), user, "sh", "-c", script]
    log = LOGS / f"{machine.name}.log"
    with log.open("w") as file:
        subprocess.run(
            command, check=False, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    written = machine / USERS[user].removeprefix("/") / "result"
    told: dict[str, str | bool] = json.loads(written.read_text()) if written.exists() else {"passed": False}
    if not told["passed"]:
        print(*log.read_text(errors="replace").splitlines()[-40:], sep="\n")
    return told


def settings(machine: Path) -> Mapping[str, str]:
    """Carry over how this machine reaches a package index: files into the machine; the variables are returned."""
    for file in ("/etc/hosts", "/etc/resolv.conf"):
        carry(Path(file), machine)
    # All files of pip in one, the last word as pip has it. A cache would make it look faster than it is.
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), *Path.home().glob(".pip/pip.conf")]
    files += [*Path.home().glob(".config/pip/pip.conf"), Path(os.environ.get("PIP_CONFIG_FILE", os.devnull))]
    pip = RawConfigParser()
    pip.read(files)
    for section in pip.sections():
        pip.remove_option(section, "cache-dir")
    with (machine / "etc" / "pip.conf").open("w") as merged:
        pip.write(merged)
    variables = {
        name: value
        for name, value in os.environ.items()
        if (name.startswith(SETTINGS) or name.lower().endswith("_proxy"))
        and name not in {"PIP_CONFIG_FILE", "PIP_CACHE_DIR"}
    }
    told = [value for section in pip.sections() for _, value in pip.items(section)]
    for path in named((*told, *variables.values())):
        carry(path, machine)
    return variables


def named(values: tuple[str, ...]) -> Iterator[Path]:
    """The files and folders of this machine that values name."""
    for word in " ".join(values).split():
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path != Path("/") and path.exists():
            yield path


def carry(path: Path, machine: Path) -> None:
    """Copy a file or folder to the same place in a machine."""
    place = machine / path.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    # What is there goes first: a link in it may lead to a file of this machine.
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    if path.is_dir():
        shutil.copytree(path, place, ignore_dangling_symlinks=True)
    else:
        shutil.copy(path, place)


if __name__ == "__main__":
    sys.exit(main())
