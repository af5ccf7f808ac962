"""Files that chats carry: downloaded with an end to their size, and known by what their bytes are."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from assistant.errors import ContentRefused, VendorUnavailable

if TYPE_CHECKING:
    import httpx

_MAGIC: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (4, b"ftypheic", "image/heic"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"7z\xbc\xaf'\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (4, b"ftyp", "video/mp4"),
    (0, b"OggS", "audio/ogg"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"ID3", "audio/mpeg"),
    (8, b"WAVE", "audio/wav"),
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\x7fELF", "application/x-elf"),
)
_OFFICE: Final = {
    "word/": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xl/": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "ppt/": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
_TEXT: Final = {
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "json": "application/json",
    "markdown": "text/markdown",
    "md": "text/markdown",
    "xml": "application/xml",
}
_ENDINGS: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
    "audio/ogg": "ogg",
    "video/mp4": "mp4",
}


def content_type(content: bytes, *, name: str = "") -> str:
    """What `content` is by its first bytes; its name decides only between kinds of text."""
    for offset, magic, kind in _MAGIC:
        if content.startswith(magic, offset):
            return kind
    if content.startswith(b"PK\x03\x04"):
        try:
            inside = zipfile.ZipFile(BytesIO(content)).namelist()
        except (zipfile.BadZipFile, OSError, ValueError):
            inside = []
        for prefix, kind in _OFFICE.items():
            if any(n.startswith(prefix) for n in inside):
                return kind
        return "application/zip"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    if b"\x00" in content:
        return "application/octet-stream"
    return _TEXT.get(name.rpartition(".")[2].lower(), "text/plain")


def safe_name(name: str, *, kind: str = "", fallback: str = "file") -> str:
    """`name` without folders and control characters, at most 200 characters; where there is none, one that fits `kind`."""
    name = re.sub(r"[\x00-\x1f\x7f]", "", name.replace("\\", "/").rpartition("/")[2]).strip(". ")
    if not name:
        name = f"{fallback}.{_ENDINGS[kind]}" if kind in _ENDINGS else fallback
    head, dot, tail = name.rpartition(".")
    return f"{head[: 199 - len(tail)]}{dot}{tail}" if len(name) > 200 and len(tail) < 20 else name[:200]


def disposition_name(headers: Mapping[str, str]) -> str:
    """The file name in a Content-Disposition header, "" where there is none."""
    value = headers.get("content-disposition", "")
    if found := re.search(r"filename\*\s*=\s*(?:UTF-8)?'[^']*'([^;]+)", value, re.IGNORECASE):
        return unquote(found[1].strip().strip('"'))
    if found := re.search(r'filename\s*=\s*"?([^";]+)', value, re.IGNORECASE):
        return unquote(found[1].strip())
    return ""


def download(
    platform: str,
    url: str,
    *,
    limit: int,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
) -> tuple[bytes, httpx.Response]:
    """The body of a GET, read as it comes, and its response. Raises ContentRefused as soon as it is over `limit` bytes."""
    import httpx

    from assistant.platforms.outbound import client

    try:
        with client().stream("GET", url, headers=headers, params=params) as response:
            announced = response.headers.get("content-length", "")
            if announced.isdecimal() and int(announced) > limit:
                raise ContentRefused(f"{platform}: the file is larger than {limit} bytes", platform=platform)
            pieces = []
            size = 0
            for piece in response.iter_bytes():
                size += len(piece)
                if size > limit:
                    raise ContentRefused(f"{platform}: the file is larger than {limit} bytes", platform=platform)
                pieces.append(piece)
            content = b"".join(pieces)
            read = httpx.Response(
                response.status_code, headers=_plain(response.headers), content=content, request=response.request
            )
            return content, read
    except httpx.HTTPError as error:  # reading twice does no harm
        raise VendorUnavailable(f"{platform} does not give the file: {type(error).__name__}", platform=platform) from error


def _plain(headers: httpx.Headers) -> list[tuple[bytes, bytes]]:
    """Headers of a body that is decoded already; as bytes, because vendors put UTF-8 into them."""
    return [(k, v) for k, v in headers.raw if k.lower() not in (b"content-encoding", b"content-length", b"transfer-encoding")]
