"""Nothing is published, so no document tells to install it from an index or to pull it."""

import re

from tests.docs.pages import PAGES, ROOT

_INDEX = re.compile(r"pip3? install (?!.*--no-index)[^`\n]*rate-limiting-gateway")
_PULLED = re.compile(r"docker (?:pull|run)[^`\n]*rate-limiting-gateway|helm (?:repo add|pull)")


def test_no_document_installs_from_an_index_or_pulls_what_is_not_there() -> None:
    readmes = (ROOT / "deploy").rglob("*.md")
    sources = (ROOT / "gateway").rglob("*.py")
    files = [*PAGES, *readmes, *sources, *(ROOT / "config").rglob("*.yaml"), *(ROOT / "docker").rglob("*.yaml")]
    for file in files:
        for wrong in (_INDEX, _PULLED):
            assert wrong.search(file.read_text()) is None, file
