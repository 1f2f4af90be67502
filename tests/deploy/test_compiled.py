"""What mypyc compiles, without an error, into something that behaves otherwise; CONTRIBUTING.md explains each."""

import ast
import tomllib
from collections.abc import Iterable, Iterator

import pytest

from tests.kit.process import ROOT

HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"][
    "custom"
]
COMPILED = sorted(
    {file.relative_to(ROOT).as_posix() for glob in HOOK["include"] for file in ROOT.glob(glob)} - set(HOOK["exclude"])
)
SUSPENDS = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
FUNCTIONS = (ast.AsyncFunctionDef, ast.FunctionDef, ast.Lambda)

each_compiled = pytest.mark.parametrize("name", COMPILED)


def within(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Nodes, and what is in them, but for functions that are defined there."""
    for node in nodes:
        yield node
        if not isinstance(node, FUNCTIONS):
            yield from within(ast.iter_child_nodes(node))


def mistakes(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Try(handlers=handlers, finalbody=last):
                blocks = [*(statement for handler in handlers for statement in handler.body), *last]
                yield from (f"{each.lineno}: waits here" for each in within(blocks) if isinstance(each, SUSPENDS))
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name("super"))), keywords=keywords):
                yield from (f"{node.lineno}: passes **options" for each in keywords if each.arg is None)
            case ast.ClassDef(decorator_list=[_, *_], body=body):
                yield from (
                    f"{each.lineno}: has a ClassVar with a value"
                    for each in body
                    if isinstance(each, ast.AnnAssign) and each.value and "ClassVar" in ast.unparse(each.annotation)
                )


def test_what_is_left_out_is_there() -> None:
    assert all((ROOT / name).is_file() for name in HOOK["exclude"])


@each_compiled
def test_no_compiled_module_has_what_would_behave_otherwise(name: str) -> None:
    assert list(mistakes((ROOT / name).read_text())) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("async def f():\n try: pass\n except OSError:\n  await g()", ["4: waits here"]),
        ("async def f():\n try: pass\n finally:\n  await g()", ["4: waits here"]),
        ("async def f():\n try: await g()\n except OSError: pass", []),
        ("class A(B):\n def __init__(self, **o): super().__init__(1, **o)", ["2: passes **options"]),
        ("@dataclass\nclass A:\n kind: ClassVar[str] = 'a'", ["3: has a ClassVar with a value"]),
    ],
)
def test_the_mistakes_are_recognized(text: str, found: list[str]) -> None:
    assert list(mistakes(text)) == found
