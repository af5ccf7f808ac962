"""What Word and PowerPoint files share: a zip of XML parts that name one another."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from assistant.knowledge.loaders import BROKEN, Limits, Unreadable, open_zip

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

RELATIONS: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"


class Package:
    """An Office Open XML file. Raises Unreadable for a broken one.

    Source: ECMA-376 part 2 (Open Packaging Conventions).
    """

    def __init__(self, name: str, content: bytes, *, limits: Limits) -> None:
        self.name = name
        self._zip = open_zip(name, content, limits=limits)
        if any(m.flag_bits & 1 for m in self._zip.infolist()):
            raise Unreadable(name, "it is encrypted; take the password off")

    def part(self, path: str) -> Element | None:
        """The XML of a part, or None where the file has no such part."""
        from xml.etree.ElementTree import ParseError

        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import fromstring

        try:
            content = self._zip.read(path)
        except KeyError:
            return None
        except BROKEN as error:
            raise Unreadable(self.name, f"its part {path} cannot be unpacked ({error})") from error
        try:
            root: Element = fromstring(content, forbid_dtd=True)
        except (ParseError, ValueError, DefusedXmlException) as error:
            raise Unreadable(self.name, f"its part {path} is broken ({type(error).__name__})") from error
        return root

    def needed(self, path: str) -> Element:
        """The XML of a part that such a file must have."""
        if (root := self.part(path)) is None:
            raise Unreadable(self.name, f"it is broken: the part {path} is missing")
        return root

    def targets(self, path: str) -> dict[str, str]:
        """Relation id → part, for the relations of the part at `path`."""
        folder, file = posixpath.split(path)
        root = self.part(f"{folder}/_rels/{file}.rels")
        return {
            r.get("Id", ""): posixpath.normpath(posixpath.join(folder, r.get("Target", "").lstrip("/")))
            if not r.get("Target", "").startswith("/")
            else r.get("Target", "").lstrip("/")
            for r in (root if root is not None else ())
            if r.get("TargetMode") != "External"
        }

    @property
    def title(self) -> str:
        """The title in the file's properties; empty where there is none."""
        root = self.part("docProps/core.xml")
        found = root.findtext("{http://purl.org/dc/elements/1.1/}title") if root is not None else ""
        return (found or "").strip()
