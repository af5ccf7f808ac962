"""Files that answers carry: kept in the bucket before the reply is saved, named in it, and deleted with the turn.

An object's path is `turns/files/<whose>/<when>-<secret>/<name>`: all of one person stand under one prefix, the bucket ends them
with the turns, and nobody guesses one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from assistant.errors import ContentRefused, Refused
from assistant.messages import Attachment, File, Message
from assistant.platforms.files import content_type, safe_name
from assistant.storage import Bucket, key

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of one file: as much as a function's answer can carry to a browser."""

LINK_SECONDS: Final = 7 * 86400
"""How long a link to a file works, for chats that cannot be sent one."""

PREFIX: Final = "turns/files/"

LINKS: Final = "/api/files/"
"""Path below the public address at which a file's link leads to it."""


class Files:
    """Keeps files and gives them back. `public_url`: where the HTTP API is reached from outside."""

    def __init__(self, bucket: Callable[[], Bucket], *, public_url: str = "", clock: Callable[[], float] = time.time) -> None:
        self._bucket = bucket
        self._public_url = public_url
        self._clock = clock

    def keep(self, message: Message, name: str, content: bytes) -> Attachment:
        """Keeps a file for the answer to `message`; it is what its bytes are, whatever its name says.

        Raises ContentRefused for an empty one and one above LARGEST, Unavailable where the bucket does not answer.
        """
        if not 0 < len(content) <= LARGEST:
            raise ContentRefused(f"file {name!r} has {len(content)} bytes; an answer carries files of 1 to {LARGEST} bytes")
        kind = content_type(content, name=name)
        known = safe_name(name, kind=kind)
        room = _room(message.tenant, message.platform, message.sender)
        path = f"{PREFIX}{room}/{int(self._clock()):x}-{secrets.token_hex(16)}/{known}"
        self._bucket().put(path, content, content_type=kind)
        return Attachment(name=known, content_type=kind, size=len(content), path=path)

    def read(self, attachment: Attachment) -> File:
        """The file with its bytes. Raises KeyError where it is gone, Unavailable."""
        return File(name=attachment.name, content=self._bucket().get(attachment.path), content_type=attachment.content_type)

    def link(self, attachment: Attachment) -> str:
        """An address at which the file can be fetched for LINK_SECONDS; empty where nobody outside reaches us."""
        if not self._public_url:
            return ""
        return self._public_url + LINKS + quote(attachment.path.removeprefix(PREFIX))

    def linked(self, path: str) -> File:
        """The file that a link leads to. Raises Refused (404) for a link that is none or too old."""
        found = re.fullmatch(r"[0-9a-f]{32}/([0-9a-f]{8,10})-[0-9a-f]{32}/(?!\.\.?\Z)([^/\\]+)", path)
        if not found or self._clock() - int(found[1], 16) > LINK_SECONDS:
            raise Refused("there is no such file, or its link has ended", status=404)
        try:
            content = self._bucket().get(PREFIX + path)
        except KeyError:
            raise Refused("there is no such file, or its link has ended", status=404) from None
        return File(name=found[2], content=content, content_type=content_type(content, name=found[2]))

    def forget(self, tenant: str, platform: str, user: str) -> None:
        """Deletes every file that was made for this person."""
        bucket = self._bucket()
        for path in list(bucket.list(f"{PREFIX}{_room(tenant, platform, user)}/")):
            bucket.delete(path)


def _room(tenant: str, platform: str, user: str) -> str:
    return hashlib.sha256(key(tenant, platform, user).encode()).hexdigest()[:32]


def download_headers(file: File) -> dict[str, str]:
    """Headers under which a browser saves the file and runs nothing of it."""
    ascii_name = re.sub(r"[^\w.-]", "_", file.name, flags=re.ASCII)
    return {
        "content-disposition": f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(file.name, safe='')}",
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-store",
    }
