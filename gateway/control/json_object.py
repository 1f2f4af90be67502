"""`JsonObject`: reads the members of a JSON object strictly, and reports all errors at once."""

from collections.abc import Iterable
from typing import Any, Final, Self

from gateway.config.strict_json import StrictJsonError, parse_strict_json
from gateway.control.errors import InvalidJsonError, InvalidObjectError

_MAX_ERRORS: Final = 20


class JsonObject:
    """A JSON object. Each reader notes what is wrong with its member, and returns something harmless.

    Args:
        members: By name.
        path: Where it is, as a JSON pointer (RFC 6901).
        errors: Where errors are noted, of an object within another.
    """

    def __init__(self, members: dict[str, Any], path: str = "#", errors: list[dict[str, str]] | None = None) -> None:
        self._members = members
        self._path = path
        self._known: set[str] = set()
        self._errors: list[dict[str, str]] = [] if errors is None else errors

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """The JSON object that a body is.

        Raises:
            InvalidJsonError: it is not a strict JSON object.
        """
        try:
            document = parse_strict_json(content)
        except StrictJsonError as error:
            raise InvalidJsonError(f"the body is not strict JSON: {error}") from None
        if not isinstance(document, dict):
            raise InvalidJsonError("the body is not a JSON object")
        return cls(document)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def has_any(self, names: Iterable[str]) -> bool:
        """Whether one of these members is there."""
        return not self._members.keys().isdisjoint(names)

    @property
    def has_errors(self) -> bool:
        """Whether an error was noted so far."""
        return bool(self._errors)

    def refuse(self, name: str, expected: str) -> None:
        """Note what was expected of a member."""
        self._errors.append({"pointer": f"{self._path}/{name}", "detail": expected})

    def required(self, name: str) -> Any:
        """A member of any type; None if it is missing, which is an error."""
        self._known.add(name)
        if name not in self._members:
            self.refuse(name, "this member is required")
        return self._members.get(name)

    def string(self, name: str, max_length: int = 256) -> str:
        """A string that is not empty."""
        value = self.required(name)
        if not isinstance(value, str) or not 0 < len(value) <= max_length:
            if name in self:
                self.refuse(name, f"must be a string of 1 to {max_length} characters")
            return ""
        return value

    def integer(self, name: str, least: int, most: int) -> int:
        """An integer, written as one: neither ``1.0`` nor ``true``."""
        value = self.required(name)
        if type(value) is not int or not least <= value <= most:
            if name in self:
                self.refuse(name, f"must be an integer from {least} to {most}")
            return least
        return value

    def flag(self, name: str) -> bool:
        """``true`` or ``false``; ``false`` if the member is missing, which is allowed."""
        self._known.add(name)
        value = self._members.get(name, False)
        if type(value) is not bool:
            self.refuse(name, "must be true or false")
            return False
        return value

    def choice(self, name: str, options: tuple[str, ...]) -> str:
        """One of several words."""
        value = self.required(name)
        if value not in options:
            if name in self:
                self.refuse(name, f"must be one of {', '.join(options)}")
            return ""
        return str(value)

    def strings(self, name: str, max_length: int = 64, most: int = 1000) -> tuple[str, ...]:
        """A list of different strings that is not empty; empty only if the member is missing, which is allowed."""
        if name not in self:
            self._known.add(name)
            return ()
        value = self.required(name)
        if (
            not isinstance(value, list)
            or not 0 < len(value) <= most
            or not all(isinstance(item, str) and 0 < len(item) <= max_length for item in value)
            or len(set(value)) < len(value)
        ):
            self.refuse(name, f"must be a list of 1 to {most} different strings of 1 to {max_length} characters")
            return ()
        return tuple(value)

    def texts(self, name: str, max_length: int = 256, most: int = 16) -> dict[str, str]:
        """An object whose members are strings that are not empty; empty as well if it is missing, which is allowed."""
        if name not in self:
            self._known.add(name)
            return {}
        value = self.required(name)
        if (
            not isinstance(value, dict)
            or not len(value) <= most
            or not all(isinstance(each, str) and 0 < len(each) <= max_length for each in value.values())
        ):
            self.refuse(name, f"must be an object of up to {most} strings of 1 to {max_length} characters")
            return {}
        return value

    def objects(self, name: str, most: int) -> list["JsonObject"]:
        """A list of objects that is not empty; empty only if it is no such list, which is an error.

        What is wrong with them is noted here. Each has to be closed by `note_unknown`.
        """
        value = self.required(name)
        is_list = isinstance(value, list) and 0 < len(value) <= most
        if not is_list or not all(isinstance(each, dict) for each in value):
            if name in self:
                self.refuse(name, f"must be a list of 1 to {most} objects")
            return []
        path = f"{self._path}/{name}"
        return [JsonObject(each, f"{path}/{place}", self._errors) for place, each in enumerate(value)]

    def note_unknown(self) -> None:
        """Note members that nobody has read."""
        if self._members.keys() <= self._known:
            return
        for name in sorted(set(self._members) - self._known):
            self.refuse(name[:64], "unknown member")
            self._known.add(name)

    def close(self) -> None:
        """Finish reading.

        Raises:
            InvalidObjectError: something is wrong, or there is a member that nobody read.
        """
        self.note_unknown()
        if self._errors:
            raise InvalidObjectError(self._errors[:_MAX_ERRORS])
