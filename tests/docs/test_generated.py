"""What is generated is up to date."""

from pathlib import Path

import pytest

from tests.docs.generate import generated


@pytest.mark.parametrize(("path", "text"), generated().items(), ids=lambda value: getattr(value, "name", ""))
def test_a_generated_file_is_what_the_code_says(path: Path, text: str) -> None:
    assert path.read_text() == text, "run: .venv/bin/python -m tests.docs.generate"
