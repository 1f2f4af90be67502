"""The wheel: built, installed where nothing of this checkout is, and used."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from gateway import __version__
from tests.kit.process import ROOT, run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with the tools of this environment, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_it_has_all_that_the_package_has_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "gateway").rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    assert names == package
    assert {"gateway/py.typed", "gateway/redis/take.lua"} <= names
    assert {name for name in names if name.endswith(".lua")} == {
        file.relative_to(ROOT).as_posix() for file in (ROOT / "gateway").rglob("*.lua")
    }


async def test_the_compiled_build_says_what_it_needs(tmp_path: Path) -> None:
    environment = {"HATCH_BUILD_HOOK_ENABLE_CUSTOM": "true", "CC": str(tmp_path / "cc")}
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path)
    code, said = await run(*command, env=environment)
    assert code == 1
    assert f"The compiled build needs a C compiler ({tmp_path}/cc)" in said
    assert "apt-get install gcc libc6-dev python3-dev" in said


async def test_it_installs_offline_and_answers(wheel: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    code, said = await run(sys.executable, "-m", "venv", "--without-pip", alone)
    assert code == 0, said
    python = alone / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    code, said = await run(*pip, "install", "--no-index", "--no-deps", "--no-compile", wheel)
    assert code == 0, said
    # What it depends on comes from this environment, behind its own packages. The link to this checkout that is in
    # there too is not followed from a path that is added like this.
    site = Path(sysconfig.get_path("purelib", vars={"base": str(alone)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    where = await run(python, "-c", "import gateway; print(gateway.__file__)", cwd=tmp_path)
    assert where == (0, f"{site / 'gateway' / '__init__.py'}\n")
    assert await run(alone / "bin" / "gateway", "--version", cwd=tmp_path) == (0, f"gateway {__version__}\n")
    code, said = await run(alone / "bin" / "gateway", "check", "--config", ROOT / "config/gateway.yaml", cwd=tmp_path)
    assert code == 0, said
    # The scripts for Redis are read from the package.
    scripts = "from gateway.redis import scripts; print(len([n for n in vars(scripts) if n.isupper()]) > 0)"
    assert await run(python, "-c", scripts, cwd=tmp_path) == (0, "True\n")
