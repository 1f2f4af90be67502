"""One reader at one terminal: writes a page's files, runs its commands, and compares what they print.

The reader has a folder of their own. Ports that the page names are replaced by free ones, and put back in what is
printed; so pages can be tested beside a gateway that runs. Commands that end in ``&`` are jobs, which live until
``kill %N`` or the end of the page; a job's output in the page is waited for.
"""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config.diagnostic import ConfigError
from gateway.config.flags import Flags
from gateway.config.loader import load
from tests.config.reading import write_certificates
from tests.docs import curl
from tests.docs.pages import ROOT, Block, Command, File, commands
from tests.kit.process import Process
from tests.redis_server import binaries
from tests.reserved_port import ReservedPort

_PORT = re.compile(r"(?:127\.0\.0\.1|localhost|0\.0\.0\.0|\[::1\]):([0-9]{4,5})")
_USUAL = {8080, 8081}
"""Ports that a gateway takes when nothing is said."""

_KEPT = re.compile(r"\b(?P<folder>tls|secrets|keys)/(?P<name>[\w.-]+)")
_GATEWAY = """\
#!{python}
import re, sys
from pathlib import Path
from gateway.commands.cli import main
arguments = sys.argv[1:]
said = " ".join(arguments)
if "--config" in arguments:
    said += "\\n" + Path(arguments[arguments.index("--config") + 1]).read_text()
if arguments[:1] == ["serve"]:
    for word, port in (("listen", {public}), ("control", {control})):
        if not re.search(rf"^{{word}}:|--{{word}}", said, re.MULTILINE):
            arguments += [f"--{{word}}", f"127.0.0.1:{{port}}"]
sys.exit(main(arguments))
"""


class Session:
    """A page that is being followed."""

    def __init__(self, folder: Path, page: Path) -> None:
        self._folder = folder
        named = {int(port) for port in _PORT.findall(page.read_text())} | _USUAL
        self._jobs: dict[int, Process] = {}
        self._stack = AsyncExitStack()
        self._ports = {port: self._stack.enter_context(ReservedPort()).number for port in sorted(named)}
        if page.parent == ROOT:  # its reader is in a checkout
            (folder / "config").symlink_to(ROOT / "config")
        tools = folder / ".tools"
        tools.mkdir()
        script = _GATEWAY.format(python=sys.executable, public=self._ports[8080], control=self._ports[8081])
        (tools / "gateway").write_text(script)
        (tools / "gateway").chmod(0o755)
        (tools / "redis-server").symlink_to(next(iter(binaries().values())))
        if shutil.which("curl") is None:
            (tools / "curl").write_text(f"#!{sys.executable}\n{Path(curl.__file__).read_text()}")
            (tools / "curl").chmod(0o755)
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        self._env: Mapping[str, str] = {"PATH": path, "PYTHONUNBUFFERED": "1", "no_proxy": "*", "LC_ALL": "C.UTF-8"}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _here(self, text: str) -> str:
        return re.sub(r"\b[0-9]{4,5}\b", lambda form: str(self._ports.get(int(form[0]), form[0])), text)

    def _there(self, text: str) -> str:
        back = {here: there for there, here in self._ports.items()}
        text = text.replace("\r\n", "\n")
        return re.sub(r"\b[0-9]{4,5}\b", lambda form: str(back.get(int(form[0]), form[0])), text)

    async def follow(self, block: Block) -> None:
        """Do what a block says, and check that it is true."""
        if block.language == "yaml":
            await asyncio.to_thread(self._write, block)
        elif block.language == "console":
            for command in commands(block):
                await self._run(command, f"{block.page.name}:{command.line}: $ {command.text}")
        elif block.language == "sh":
            async with Process.start("bash", "-n", "-c", block.text) as process:
                assert await process.ends() == 0, f"{block}: {process.output}"

    def _write(self, block: Block) -> None:
        file = File.of(block)
        path = self._folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here(file.text))
        if file.kind == "other":
            return
        self._make_keys(path.parent, file.text)
        if file.kind == "gateway":
            said = re.findall(r"^(\w+):", file.text, re.MULTILINE)
            rules = None if "rules" in said else str(self._rules_that_are_there())
            flags = Flags(upstream=None if "upstreams" in said else "http://127.0.0.1:9000", rules=rules)
            verdict = _verdict(path, flags)
        elif f"# {path.parent.name}/gateway.yaml" in block.page.read_text():
            return  # they are read with the settings beside them, which follow
        else:
            gateway = self._folder / "gateway.yaml"
            rules = str(path.parent if path.parent.name == "rules" else path)
            is_there = gateway.is_file()
            known = is_there and "upstreams:" in gateway.read_text()
            flags = Flags(upstream=None if known else "http://127.0.0.1:9000", rules=rules)
            verdict = _verdict(gateway if is_there else None, flags)
        assert verdict[0] == file.verdict, f"{block}: {verdict}"

    def _rules_that_are_there(self) -> Path:
        path = self._folder / ".rules.yaml"
        path.write_text("limits: [{name: any, per: user, rate: 1/s}]\n")
        return path

    def _make_keys(self, folder: Path, text: str) -> None:
        """Files that the page supposes its reader to have: certificates, secrets, public keys."""
        for form in _KEPT.finditer(text):
            path = folder / form[0]
            if path.exists():
                continue
            path.parent.mkdir(exist_ok=True)
            before = re.findall(r"algorithm: (\w+)", text[: form.start()])
            if form["folder"] == "tls":
                # All at once, since a certificate and its key go together.
                wanted = {each[0] for each in _KEPT.finditer(text) if each["folder"] == "tls"}
                write_certificates(folder, *(each for each in wanted if not (folder / each).exists()))
                continue
            path.write_bytes(
                _public_key(before[-1]) if form["folder"] == "keys" and before else b"0123456789abcdef" * 3
            )

    async def _run(self, command: Command, place: str) -> None:
        text = self._here(command.text)
        if stopped := re.fullmatch(r"kill %(\d+)", text):
            job = self._jobs.pop(int(stopped[1]))
            job.signal(signal.SIGTERM)
            await job.ends()
        elif text.endswith("&"):
            process = await self._stack.enter_async_context(self._start(f"exec {text[:-1]}"))
            self._jobs[max(self._jobs, default=0) + 1] = process
            try:
                await process.says(self._here_pattern(command))
            except (AssertionError, TimeoutError) as error:
                raise AssertionError(f"{place}\nprinted\n{self._there(process.output)}") from error
        else:
            async with self._start(text) as process:
                try:
                    await process.ends()
                except TimeoutError:
                    raise AssertionError(f"{place}\ndoes not end{self._jobs_say()}") from None
                printed = self._there(process.output)
                assert re.fullmatch(command.pattern, printed), f"{place}\nprinted\n{printed}{self._jobs_say()}"

    def _jobs_say(self) -> str:
        return "".join(f"\njob {number} says\n{job.output}" for number, job in self._jobs.items())

    def _here_pattern(self, command: Command) -> str:
        return rf"\A{self._here(command.pattern)}"

    def _start(self, text: str) -> AbstractAsyncContextManager[Process]:
        return Process.start("bash", "-c", text, cwd=self._folder, env=self._env)


def _verdict(path: Path | None, flags: Flags) -> tuple[str, str]:
    """What the loader says: nothing, ``warned of`` or ``refused``; and why."""
    try:
        loaded = load(path, flags)
    except ConfigError as error:
        return "refused", str(error)
    # Pages show sections without what does not belong to their subject.
    warnings = [str(each) for each in loaded.warnings if "hash_key_file" not in each.message]
    return ("warned of" if warnings else ""), "\n".join(warnings)


def _public_key(algorithm: str) -> bytes:
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    match algorithm:
        case "RS256":
            key = rsa.generate_private_key(65_537, 2048)
        case "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
        case _:
            key = ed25519.Ed25519PrivateKey.generate()
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
