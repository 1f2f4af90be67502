"""`gateway completion`: scripts that complete the commands and flags of `gateway` in bash, zsh and fish.

They are made of argparse's own parser, so they name what there is. They are static: no key press starts Python.
"""

import argparse
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_FILES = {"FILE", "FOLDER", "file", "folder"}
_MORE = re.compile(r"\s*[(;].*", re.DOTALL)
"""Of a help text, what is too long for a menu."""


@dataclass(frozen=True, slots=True)
class Option:
    """A flag, or an argument in a place of its own.

    Attributes:
        names: Such as `--json`; none for an argument.
        about: What it is, in a few words.
        takes: ``nothing``, ``file``, or any other ``value``.
        choices: The values that there are, if they are known.
    """

    names: tuple[str, ...]
    about: str
    takes: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """What can be typed after some words.

    Attributes:
        words: After `gateway`, with a space before each: `` override set``.
        commands: What they are about, by name.
        options: Flags and arguments.
    """

    words: str
    commands: Mapping[str, str]
    options: tuple[Option, ...]

    @property
    def arguments(self) -> list[Option]:
        """The arguments in places of their own."""
        return [option for option in self.options if not option.names]

    @property
    def flags(self) -> list[tuple[str, str]]:
        """All names of flags, each with what it is."""
        return [(name, option.about) for option in self.options for name in option.names]

    @property
    def valued(self) -> list[Option]:
        """The flags that take a value."""
        return [option for option in self.options if option.names and option.takes != "nothing"]


def add_commands(commands: Any) -> None:
    """Add `completion` to argparse's subcommands. Its `render` returns the script for all commands of its `parser`."""
    completion = commands.add_parser(
        "completion",
        help="print a script that completes commands and flags in a shell",
        description="Print a script that completes commands and flags with the tab key.",
        epilog='bash, in ~/.bashrc:  eval "$(gateway completion bash)"\n'
        'zsh, in ~/.zshrc:    eval "$(gateway completion zsh)"    (after compinit)\n'
        "fish:                gateway completion fish > ~/.config/fish/completions/gateway.fish",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    completion.add_argument("shell", choices=tuple(_SCRIPTS), help="the shell")
    completion.set_defaults(render=lambda options: _SCRIPTS[options.shell](list(levels(options.parser))).rstrip("\n"))


def levels(parser: argparse.ArgumentParser, words: str = "") -> Iterator[Level]:
    """A parser and the parsers of its subcommands."""
    commands: dict[str, str] = {}
    options: list[Option] = []
    below: list[Level] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - nor to name this class
            about = {each.dest: each.help for each in action._choices_actions}  # noqa: SLF001 - nor to get the help
            for name, child in action.choices.items():
                commands[name] = _brief(about.get(name))
                below += levels(child, f"{words} {name}")
        else:
            options.append(_option(action))
    yield Level(words, commands, tuple(options))
    yield from below


def _option(action: argparse.Action) -> Option:
    takes = "nothing" if action.nargs == 0 else "file" if _is_file(action) else "value"
    return Option(tuple(action.option_strings), _brief(action.help), takes, tuple(map(str, action.choices or ())))


def _is_file(action: argparse.Action) -> bool:
    return action.metavar in _FILES or action.dest in _FILES


def _brief(about: str | None) -> str:
    return _MORE.sub("", about or "").replace("%%", "%")


def _bash(found: list[Level]) -> str:
    return f"""\
_gateway() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} at= word words=
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$at $word" in
            {_paths(found)}) at="$at $word" ;;
        esac
    done
    COMPREPLY=()
    case "$at:$prev" in
{_values(found, "compopt -o default 2>/dev/null; return", _bash_values)}
    esac
    case "$cur" in
        -*) case "$at" in
{_cases(found, lambda level: _bash_words([name for name, _ in level.flags]))}
        esac ;;
        *) case "$at" in
{_cases(found, _bash_arguments)}
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -F _gateway gateway
"""


def _bash_values(words: list[str]) -> str:
    return f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(words))} -- "$cur")); return'


def _bash_words(words: list[str]) -> str:
    return f"words={shlex.quote(' '.join(words))}"


def _bash_arguments(level: Level) -> str:
    if any(option.takes == "file" for option in level.arguments):
        return "compopt -o default 2>/dev/null; return"
    choices = [choice for option in level.arguments for choice in option.choices]
    return _bash_words([*level.commands, *choices] or [name for name, _ in level.flags])


def _zsh(found: list[Level]) -> str:
    return f"""\
#compdef gateway
_gateway() {{
    local at= word prev=${{words[CURRENT-1]}}
    local -a found
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case "$at $word" in
            ({_paths(found)}) at="$at $word" ;;
        esac
    done
    case "$at:$prev" in
{_values(found, "_files; return", lambda words: f"found=({' '.join(words)}); _describe value found; return")}
    esac
    case "$words[CURRENT]" in
        (-*) case "$at" in
{_cases(found, lambda level: _zsh_described(level.flags))}
        esac
        _describe -o flag found ;;
        (*) case "$at" in
{_cases(found, _zsh_arguments)}
        esac
        _describe command found ;;
    esac
}}
if [ "$funcstack[1]" = _gateway ]; then _gateway "$@"; else compdef _gateway gateway; fi
"""


def _zsh_described(words: list[tuple[str, str]]) -> str:
    return f"found=({' '.join(shlex.quote(f'{name}:{about}') for name, about in words)})"


def _zsh_arguments(level: Level) -> str:
    if any(option.takes == "file" for option in level.arguments):
        return "_files; return"
    choices = [(choice, "") for option in level.arguments for choice in option.choices]
    return _zsh_described([*level.commands.items(), *choices] or level.flags)


def _fish(found: list[Level]) -> str:
    paths = " ".join(shlex.quote(level.words) for level in found if level.words)
    lines = [
        "function __gateway_at",
        "    set -l at ''",
        "    for word in (commandline -opc)[2..-1]",
        f'        contains -- "$at $word" {paths}; and set at "$at $word"',
        "    end",
        '    test "$at" = "$argv[1]"',
        "end",
        "complete -c gateway -f",
    ]  # fmt: skip
    for level in found:
        condition = f"complete -c gateway -n {_fish_quote(f'__gateway_at {_fish_quote(level.words)}')}"
        lines += [f"{condition} -a {name} -d {_fish_quote(about)}" for name, about in level.commands.items()]
        lines += [f"{condition} {_fish_option(option)}" for option in level.options]
    return "\n".join(lines) + "\n"


def _fish_option(option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    values = f"-a {_fish_quote(' '.join(option.choices))}" if option.choices else ""
    files = "-F" if option.takes == "file" else ""
    needs = "-r" if option.names and option.takes != "nothing" else ""
    words = [names, needs, files, values, f"-d {_fish_quote(option.about)}"]
    return " ".join(filter(None, words))


def _fish_quote(text: str) -> str:
    """In single quotes, in which fish knows two escapes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _paths(found: list[Level]) -> str:
    """A pattern of bash and zsh: the words that lead to a level."""
    return "|".join(shlex.quote(level.words) for level in found if level.words)


def _values(found: list[Level], files: str, words: Callable[[list[str]], str]) -> str:
    """The cases of bash and zsh for what follows a flag that takes a value."""
    cases = []
    for level in found:
        for option in level.valued:
            pattern = "|".join(shlex.quote(f"{level.words}:{name}") for name in option.names)
            done = words(list(option.choices)) if option.choices else files if option.takes == "file" else "return"
            cases.append(f"        {pattern}) {done} ;;")
    return "\n".join(cases)


def _cases(found: list[Level], action: Callable[[Level], str]) -> str:
    return "\n".join(f"            {shlex.quote(level.words)}) {action(level)} ;;" for level in found)


_SCRIPTS: Mapping[str, Callable[[list[Level]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
