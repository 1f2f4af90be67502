"""What a gateway's workers share, and what is said where there is no place for it."""

import tempfile
from pathlib import Path

import pytest

from gateway.plane import NoFolderError, open_runtime


def test_without_a_folder_to_write_to_it_says_how_to_mend_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(NoFolderError, match="tmpfs at /tmp"), open_runtime():
        pass
