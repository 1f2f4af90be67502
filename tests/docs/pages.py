"""The pages of the documentation: their blocks, headings and links. CONTRIBUTING.md describes the convention."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if path.read_text().strip())

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
_NAME = re.compile(r"# (?P<name>[\w./-]+\.ya?ml)(?:: (?P<verdict>refused|warned of))?")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class File:
    """A YAML block: the file its first line names."""

    name: PurePosixPath
    verdict: str
    text: str

    @classmethod
    def of(cls, block: Block) -> "File":
        form = _NAME.fullmatch(block.text.partition("\n")[0].strip())
        assert form, f"{block}: the first line of a YAML block names its file, as in: # rules.yaml"
        return cls(PurePosixPath(form["name"]), form["verdict"] or "", block.text)

    @property
    def kind(self) -> str:
        """``gateway``, ``rules``, or ``other``: what is neither."""
        if self.name.name == "gateway.yaml":
            return "gateway"
        return "rules" if any(part.startswith("rules") for part in self.name.parts) else "other"


@dataclass(frozen=True)
class Command:
    """A command of a console block, and what it prints."""

    line: int
    text: str
    output: str

    @property
    def pattern(self) -> str:
        """The output as a regular expression: ``...`` is any text, and any lines where it stands alone."""
        lines = [
            r"(?:.*\n)*?" if line.strip() == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n"
            for line in self.output.splitlines()
        ]
        return "".join(lines)


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for form in _FENCE.finditer(text):
        indent = len(form["indent"])
        body = "".join(line[indent:] or "\n" for line in form["text"].splitlines(keepends=True))
        yield Block(page, text.count("\n", 0, form.start()) + 1, form["language"], body)


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block: ``$ `` starts one, ``> `` goes on with it, what follows is its output."""
    line, command, output = 0, "", ""
    for number, text in enumerate(block.text.splitlines(), block.line + 1):
        if text.startswith("$ "):
            if command:
                yield Command(line, command, output)
            line, command, output = number, text[2:], ""
        elif text.startswith("> ") and not output:
            command += f"\n{text[2:]}"
        else:
            assert command, f"{block}: a console block starts with a command"
            output += f"{text}\n"
    if command:
        yield Command(line, command, output)


def links(page: Path) -> Iterator[str]:
    """Targets of links to other files, or within the page."""
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """What a link may name behind the #, as GitHub makes it of headings."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
