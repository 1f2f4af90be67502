"""Compiles the modules on the path of a request with mypyc.

`[tool.hatch.build.targets.wheel.hooks.custom]` in pyproject.toml lists them. It is off unless the environment has
HATCH_BUILD_HOOK_ENABLE_CUSTOM=true. Nothing is written into the source tree: what runs there remains pure Python.
"""

import os
import shlex
import shutil
import sysconfig
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_GROUP = "gateway"
"""Of the shared library in which all modules are: each module's own library only loads it."""


class CompiledBuild(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled modules to a wheel, beside their source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile before the wheel is written."""
        self._require_compiler()
        self._folder = TemporaryDirectory()
        built = Path(self._folder.name, "built")
        _compile(self._modules(), Path(self._folder.name), built)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"] |= {str(each): str(each.relative_to(built)) for each in built.rglob("*.so")}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what was compiled, when the wheel is written."""
        self._folder.cleanup()

    def _modules(self) -> list[str]:
        """Paths of the modules to compile, relative to the root."""
        root = Path(self.root)
        left_out = set(self.config["exclude"])
        found = {path.relative_to(root).as_posix() for glob in self.config["include"] for path in root.glob(glob)}
        if not left_out <= found:
            self.app.abort(f"pyproject.toml excludes what is not there: {', '.join(sorted(left_out - found))}")
        return sorted(each for each in found - left_out if not each.endswith("__init__.py"))

    def _require_compiler(self) -> None:
        command = os.environ.get("CC") or sysconfig.get_config_var("CC")
        compiler = shlex.split(command)[0]
        header = Path(sysconfig.get_path("include"), "Python.h")
        missing = [
            *([f"a C compiler ({compiler})"] if shutil.which(compiler) is None else []),
            *([f"Python's headers ({header})"] if not header.exists() else []),
        ]
        if missing:
            self.app.abort(
                f"The compiled build needs {' and '.join(missing)}. Debian: apt-get install gcc libc6-dev python3-dev. "
                "Fedora: dnf install gcc python3-devel. Alpine: apk add gcc musl-dev python3-dev."
            )


def _compile(modules: list[str], folder: Path, built: Path) -> None:
    from mypyc.build import mypycify  # noqa: PLC0415 - only a compiled build has mypy and setuptools
    from setuptools import Distribution  # noqa: PLC0415

    # What make lint demands is not asked here: some types are those of packages that only tests need.
    options = ["--config-file=", "--ignore-missing-imports", "--disable-error-code=import-untyped"]
    printed = StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            extensions = mypycify(
                [*options, f"--cache-dir={folder / 'cache'}", *modules],
                opt_level="2",
                debug_level="0",
                group_name=_GROUP,
                target_dir=str(folder / "c"),
            )
    except SystemExit:
        print(printed.getvalue())
        raise
    build = Distribution({"name": _GROUP, "ext_modules": extensions, "packages": []}).get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(built), str(folder / "objects")
    build.ensure_finalized()
    build.run()
