"""The knowledge that every installation starts with: the product's own guides, in English and in Chinese.

They are the very files under `docs/`. An installed package and a Lambda layer carry them as `pages` beside this module (the
wheel and the layer's build copy them there); a checkout reads them where they are written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from assistant.errors import InvalidSetting
from assistant.knowledge.build import build
from assistant.knowledge.documents import Document
from assistant.knowledge.loaders import read
from assistant.knowledge.store import SCHEMA_VERSION
from assistant.knowledge.text import CUT_VERSION

FOLDER: Final = "assistant"
"""The folder that the default documents stand in, so that an administrator can hide or remove them together."""

_PACKAGED: Final = Path(__file__).with_name("pages")
_CHECKOUT: Final = Path(__file__).parents[5] / "docs"


PAGES_URL: Final = "/#/docs"
"""Where the web page shows the guides, on whatever address it is served."""


def default_documents(*, base_url: str = PAGES_URL) -> Iterator[Document]:
    """The product's guides. `base_url` is where `docs/` can be read in a browser, without a slash at the end."""
    root = pages()
    for path in sorted([*root.glob("*.md"), *root.glob("guides/*/*.md")]):
        if path.name == "README.md":
            continue  # a list of links answers nothing
        place = path.relative_to(root).as_posix()
        loaded = read(place, path.read_bytes())
        language = path.parent.name if path.parent != root else loaded.about["language"]
        yield Document(
            id=f"{FOLDER}/{place}",
            title=loaded.title,
            sections=loaded.sections,
            url=f"{base_url}/{place}" if base_url else "",
            language=language,
            folder=FOLDER,
            owner=loaded.about.get("owner", ""),
            origin=f"docs/{place}",
        )


def default_knowledge(target: Path, *, base_url: str = PAGES_URL) -> int:
    """Builds the default knowledge file at `target` (well under a second) and gives the number of documents in it."""
    return build(default_documents(base_url=base_url), target)


def default_file(folder: Path, *, base_url: str = "") -> Path:
    """The default knowledge file in `folder`, built where it is missing or was built by another version of the program.

    `base_url` makes the sources of answers clickable: the web page serves the guides under `{public_url}/console/docs`.
    """
    digest = hashlib.sha256(f"{SCHEMA_VERSION}/{CUT_VERSION}/{base_url}".encode())
    root = pages()
    for path in sorted([*root.glob("*.md"), *root.glob("guides/*/*.md")]):
        digest.update(path.read_bytes())
    target = folder / f"default-{digest.hexdigest()[:16]}.sqlite"
    if not target.is_file():
        default_knowledge(target, base_url=base_url)
    return target


def pages() -> Path:
    """The folder with the guides. Raises InvalidSetting where the installation lacks it."""
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / "guides").is_dir():
            return folder
    raise InvalidSetting(f"the product's guides are neither in {_PACKAGED} nor in {_CHECKOUT}; install the package anew")
