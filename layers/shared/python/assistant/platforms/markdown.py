"""Markdown for chats: the same reply written the way each platform shows it, and cut where it is too long for one message.

The source is CommonMark with tables and strike-through. Raw HTML is text, never markup. markdown-it is loaded on first use,
so that importing this module costs the webhook nothing.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from assistant.messages import Reply, Source

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token
    from markdown_it.tree import SyntaxTreeNode

Measure = Callable[[str], int]
"""How long a platform thinks a text is."""


def utf8(text: str) -> int:
    """Length of `text` in UTF-8 bytes."""
    return len(text.encode("utf-8", "surrogatepass"))


def utf16(text: str) -> int:
    """Length of `text` in UTF-16 code units."""
    return len(text) + sum(c > "\uffff" for c in text)


# --- what a platform can show ------------------------------------------------------------------


def _same(text: str) -> str:
    return text


def _code(text: str) -> str:
    """A code span that holds `text` whatever backticks are in it."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _code_block(text: str, language: str) -> str:
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _link(label: str, url: str) -> str:
    return f"[{label}]({_target(url)})"


def _image(alt: str, url: str) -> str:
    return f"![{alt}]({_target(url)})"


def _target(url: str) -> str:
    return url.replace("(", "%28").replace(")", "%29").replace(" ", "%20")


def _heading(text: str, level: int) -> str:
    return f"{'#' * level} {text}"


def _ordered(number: int) -> str:
    return f"{number}. "


_SPECIAL = re.compile(
    r"`|\\(?=[!-/:-@\[-`{-~]|$)|\*(?=\S)|(?<=\S)\*|(?<![^\W_])_|_(?![^\W_])|~(?=~)|(?<=~)~|<(?=[A-Za-z/!?])|\](?=[(\[:])"
)
_BLOCK_START = re.compile(r"^([-+*](?=\s|$)|>|\||#{1,6}(?=\s|$)|=+\s*$|-+\s*$|\d{1,9}(?=[.)](?:\s|$)))", re.MULTILINE)
_RULED = re.compile(r"^(?=([-*_])(?:[ \t]*\1){2,}[ \t]*$)", re.MULTILINE)
_ENTITY = re.compile(r"&(?=#?\w+;)")


def escape_markdown(text: str, *, html: bool = False) -> str:
    """`text` so that a CommonMark reader shows it letter for letter, with no more escapes than that takes.

    `html`: for readers that know tags, `<`, `>` and `&` become entities.
    """
    text = _SPECIAL.sub(lambda found: f"\\{found[0]}", text)
    text = _BLOCK_START.sub(lambda found: f"{found[1]}\\" if found[1].isdigit() else f"\\{found[1]}", text)
    text = _RULED.sub(r"\\", text)
    if html:
        return text.replace("&", "&amp;").replace("\\<", "<").replace("\\>", ">").replace("<", "&lt;").replace(">", "&gt;")
    return _ENTITY.sub("&amp;", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a platform writes each thing that Markdown can say; the default is CommonMark with tables."""

    bold: tuple[str, str] = ("**", "**")
    italic: tuple[str, str] = ("*", "*")
    strike: tuple[str, str] = ("~~", "~~")
    code: Callable[[str], str] = _code
    """Raw text → a code span."""
    code_block: Callable[[str, str], str] = _code_block
    """Raw text without a last newline, language (may be empty) → a code block."""
    link: Callable[[str, str], str] = _link
    """Rendered label, address (http, https, mailto or tel) → a link."""
    image: Callable[[str, str], str] = _image
    """Escaped description, address → a picture or a link to it."""
    heading: Callable[[str, int], str] = _heading
    """Rendered text, level 1–6 → a heading."""
    bullet: str = "- "
    ordered: Callable[[int], str] = _ordered
    """Number → the marker of an ordered item, with its space."""
    indent: str = ""
    """Before what is nested in a list item; empty: as many spaces as the marker is long."""
    quote: str = "> "
    """Before every line of a quotation."""
    table: Literal["keep", "code", "rows"] = "keep"
    """`keep`: as a Markdown table; `code`: columns aligned in a code block; `rows`: one list item a row."""
    rule: str = "---"
    soft_break: str = "\n"
    hard_break: str = "\n"
    gap: str = "\n\n"
    """Between two blocks."""
    url: Callable[[str], str] = _same
    """An address that stands in the text as it is."""
    escape: Callable[[str], str] = escape_markdown
    """Plain text → text that the platform shows letter for letter."""


COMMONMARK: Final = Dialect(hard_break="\\\n")

PLAIN: Final = Dialect(
    bold=("", ""),
    italic=("", ""),
    strike=("", ""),
    code=_same,
    code_block=lambda text, _language: text,
    link=lambda label, url: label if url in (label, f"mailto:{label}") else f"{label} ({url})" if label else url,
    image=lambda alt, url: f"{alt} ({url})" if alt else url,
    heading=lambda text, _level: text,
    bullet="• ",
    table="rows",
    rule="———",
    escape=_same,
)
"""For a place that shows letters only."""


def to_plain(markdown: str) -> str:
    """`markdown` without its markup, for notifications, fall-back fields and places that show letters only."""
    return render(markdown, PLAIN)


def render(markdown: str, dialect: Dialect) -> str:
    """`markdown` written in `dialect`."""
    return _Writer(dialect).blocks(_tree(markdown).children, dialect.gap).strip("\n")


def body(reply: Reply) -> str:
    """What a reply says as one Markdown text: title, text, and its sources as a list of links, in the language of the text."""
    from assistant.words import language_of

    head = f"**{escape_markdown(reply.title)}**\n\n" if reply.title else ""
    if not reply.sources:
        return head + reply.text
    return f"{head}{closed(reply.text)}\n\n{sources(reply.sources, language=language_of(reply.text))}"


def sources(found: Sequence[Source], *, language: str = "en") -> str:
    """The list under a reply that says where its statements come from, in Markdown."""
    from assistant.words import say

    lines = [f"{say('sources', language)}:"]
    for source in found:
        title = escape_markdown(" ".join(source.title.split()) or source.url)
        name = f"[{title}]({_target(source.url)})" if _SAFE.match(source.url) else title
        page = f", {say('page', language, page=source.page)}" if source.page else ""
        lines.append(f"- \\[{source.number}\\] {name}{page}")
    return "\n".join(lines)


def closed(markdown: str) -> str:
    """`markdown` with a code fence that is still open closed, so that what follows it is no code."""
    for fence in _fences(_blocks(markdown), markdown.split("\n")):
        if not fence.ended:
            return markdown.rstrip("\n") + "\n" + fence.close
    return markdown


_NO_ADDRESS: Final = r"\s<>\"`\\|*\[\]{}\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_ADDRESS = re.compile(rf"https?://[^{_NO_ADDRESS}]*[^{_NO_ADDRESS}.,;:!?_~'()]")
_SAFE = re.compile(r"(?i)(https?://|mailto:|tel:)")
_MARKER: Final = r"[ \t]*+(?:>|[*+-](?=[ \t])|\d{1,9}[.)](?=[ \t]))"
_MARKED = re.compile(r"[!&*:<\[\]\\_`~\n]")
"""What a text that is read for its markup has at least one of: letters, and no more, have none."""
_BAR = re.compile(r"(?<!\\)\|")
_DEEP = re.compile(rf"(?m)^((?:{_MARKER}){{24}})(?:{_MARKER})++")
_NEWLINE = re.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    # html off: what looks like a tag is text. maxNesting: below it markdown-it drops what is nested deeper.
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 100}).enable(["table", "strikethrough"])
    parser.block.ruler.at("table", _whole_table, {"alt": ["paragraph", "reference"]})
    parser.inline.ruler.before("escape", "address", _address)
    parser.inline.ruler.before("link", "bracket", _bracket)
    return parser


@functools.cache
def _block_parser() -> MarkdownIt:
    """Finds the blocks and leaves what is in them unread."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 100}).enable(["table", "strikethrough"])
    parser.block.ruler.at("table", _whole_table, {"alt": ["paragraph", "reference"]})
    parser.core.ruler.disable(["inline", "text_join"])
    return parser


def _whole_table(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """Takes a table as one token that holds the words of its cells. The parser's own rule, which still says what a table is,
    makes three tokens of each cell, of those that a short row leaves out too: a hundred megabytes for a long table."""
    from markdown_it.rules_block.table import table

    if not table(state, first, end, True):
        return False
    if silent:
        return True
    marks = [mark.strip() for mark in _line_of(state, first + 1).strip("| \t").split("|")]
    around, state.parentType = state.parentType, "table"
    interrupts = state.md.block.ruler.getRules("blockquote")
    rows, line = [_cells(_line_of(state, first))[: len(marks)]], first + 2
    while line < end and state.sCount[line] >= state.blkIndent and not state.is_code_block(line):
        if not (text := _line_of(state, line)) or any(interrupt(state, line, end, True) for interrupt in interrupts):
            break
        rows.append(_cells(text)[: len(marks)])
        line += 1
    token = state.push("table", "table", 0)
    token.map = [first, line]
    token.meta = {"rows": rows, "marks": marks, "env": state.env}
    state.parentType = around
    state.line = line
    return True


def _line_of(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].strip()


def _cells(line: str) -> list[str]:
    """The words of each cell of a table's line, without the bars at its ends."""
    cells = [cell.replace("\\|", "|").strip() for cell in _BAR.split(line)]
    return cells[0 if cells[0] else 1 : None if cells[-1] else -1]


def _address(state: StateInline, silent: bool) -> bool:
    """Takes an address in the text as it is: its underscores are no markup. The parser stops at the colon of its scheme."""
    scheme = next((s for s in ("https", "http") if state.src.endswith(s, 0, state.pos)), "")
    if not scheme or state.src[state.pos] != ":" or not (found := _ADDRESS.match(state.src, state.pos - len(scheme))):
        return False
    if not silent:
        state.pending += found[0][len(scheme) :]
    state.pos = found.end()
    return True


_MOST_NESTED: Final = 20
"""Brackets that may open inside the words of a link before it is held to be none."""


def _bracket(state: StateInline, silent: bool) -> bool:
    """Takes a bracket as a letter where no link can begin. The parser would look for the end of each one anew, which takes
    hours where there are many."""
    at = state.pos + state.src.startswith("![", state.pos)
    if not state.src.startswith("[", at) or _may_be_link(state.src, at, references=bool(state.env.get("references"))):
        return False
    if not silent:
        state.pending += state.src[state.pos : at + 1]
    state.pos = at + 1
    return True


def _may_be_link(text: str, at: int, *, references: bool) -> bool:
    opened, closed, followed = _brackets(text)
    ends = closed if references else followed
    n = bisect_left(ends, at)
    return n < len(ends) and bisect_left(opened, ends[n]) - bisect_left(opened, at) <= _MOST_NESTED


@functools.lru_cache(maxsize=4)
def _brackets(text: str) -> tuple[list[int], list[int], list[int]]:
    """Where brackets open, where they close, and where they close before the address of a link."""
    return tuple([found.start() for found in re.finditer(mark, text)] for mark in (r"\[", r"\]", r"\]\("))  # type: ignore[return-value]  # three


def _clean(markdown: str) -> str:
    return _NEWLINE.sub("\n", markdown).replace("\x00", "\ufffd")


def _tree(markdown: str) -> SyntaxTreeNode:
    """The parsed text. One that a chat takes as one message is kept for a moment: it is written several ways, and reading it is
    the dear part. A tree fills some hundred times what its text does, so that a longer one is not kept."""
    return _kept_tree(markdown) if len(markdown) <= _KEPT else _read_tree(markdown)


def _read_tree(markdown: str) -> SyntaxTreeNode:
    from markdown_it.tree import SyntaxTreeNode

    return SyntaxTreeNode(_parser().parse(_DEEP.sub(r"\1", _clean(markdown))))


_KEPT: Final = 30_000
_kept_tree = functools.lru_cache(maxsize=4)(_read_tree)


def _blocks(markdown: str) -> list[Token]:
    return _block_parser().parse(_DEEP.sub(r"\1", _clean(markdown)))


_Cells = list[list[str]]
"""Of a table, row by row."""


class _Writer:
    """Writes a syntax tree in a dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self.d = dialect

    def blocks(self, nodes: Iterable[SyntaxTreeNode], gap: str) -> str:
        return gap.join(text for node in nodes if (text := self.block(node)) or node.type in ("fence", "code_block"))

    def block(self, node: SyntaxTreeNode) -> str:
        match node.type:
            case "inline":
                return self.inline(node.children)
            case "paragraph":
                return self.spans(node)
            case "heading":
                return self.d.heading(self.spans(node).replace("\n", " "), int(node.tag[1:]))
            case "fence" | "code_block":
                return self.d.code_block(node.content.removesuffix("\n"), node.info.split()[0] if node.info.split() else "")
            case "blockquote":
                inner = self.blocks(node.children, self.d.gap)
                return "\n".join((self.d.quote + line).rstrip() for line in inner.split("\n"))
            case "bullet_list" | "ordered_list":
                return self.list(node)
            case "table":
                return self.table(node)
            case "hr":
                return self.d.rule
            case _:
                return self.blocks(node.children, self.d.gap)

    def list(self, node: SyntaxTreeNode) -> str:
        number = int(node.attrs.get("start", 1))
        tight = all(child.hidden for item in node.children for child in item.children if child.type == "paragraph")
        gap = "\n" if tight else self.d.gap
        items = []
        for offset, item in enumerate(node.children):
            marker = self.d.bullet if node.type == "bullet_list" else self.d.ordered(number + offset)
            indent = self.d.indent or " " * len(marker)
            first, *rest = self.blocks(item.children, gap).split("\n")
            items.append("\n".join([marker + first, *(indent + line if line else "" for line in rest)]))
        return gap.join(items)

    def table(self, node: SyntaxTreeNode) -> str:
        rows = self.cells(node)
        if self.d.table == "keep":
            return self.kept([[re.sub(r"(?<!\\)\|", r"\\|", c) for c in row] for row in rows], node.meta["marks"])
        if self.d.table == "rows":
            return self.listed(rows)
        plain = _Writer(PLAIN)
        letters = plain.cells(node)
        widths = [0] * len(letters[0])
        for row in letters:
            for n, cell in enumerate(row):
                widths[n] = min(max(widths[n], columns(cell)), WIDEST)  # one long cell would make every other row as long
        if _grows_too_long(sum(widths) * len(letters), letters):
            widths = [0] * len(widths)
        lines = ["  ".join(_pad(c, w) for c, w in zip(row, widths, strict=False)).rstrip() for row in letters]
        return self.d.code_block("\n".join([lines[0], "  ".join("-" * (w or 1) for w in widths), *lines[1:]]), "")

    def cells(self, node: SyntaxTreeNode) -> _Cells:
        """What each cell of a table says; a row may be shorter than the head."""
        written: dict[str, str] = {}  # many cells of a long table say the same
        for row in node.meta["rows"]:
            for cell in row:
                if cell not in written:
                    written[cell] = self.cell(cell, node.meta["env"])
        return [[written[cell] for cell in row] for row in node.meta["rows"]]

    def cell(self, text: str, env: dict[str, Any]) -> str:
        if not _MARKED.search(text):
            return self.text(text)
        from markdown_it.tree import SyntaxTreeNode

        return self.spans(SyntaxTreeNode(_parser().parseInline(text, env)))

    def kept(self, rows: _Cells, marks: Sequence[str]) -> str:
        rule = [":-:" if m[0] == m[-1] == ":" else "--:" if m[-1] == ":" else "---" for m in marks]
        missing = sum(len(rule) - len(row) for row in rows)
        if not _grows_too_long(3 * missing, rows):
            rows = [row + [""] * (len(rule) - len(row)) for row in rows]
        return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])

    def listed(self, rows: _Cells) -> str:
        head, *bodies = rows
        bold = self.d.bold
        lines = []
        if _grows_too_long(sum(map(len, head)) * len(bodies), rows):
            lines = [" · ".join(name for name in head if name)]
            head = [""] * len(head)
        for row in bodies:
            named = [
                f"{bold[0]}{name}{bold[1]}: {value}" if name else value for name, value in zip(head, row, strict=False) if value
            ]
            lines.append(self.d.bullet + " · ".join(named))
        return "\n".join(lines) or " · ".join(head)

    def spans(self, node: SyntaxTreeNode) -> str:
        return "".join(self.inline(child.children) for child in node.children)

    def inline(self, nodes: Sequence[SyntaxTreeNode]) -> str:
        return "".join(self.span(node) for node in nodes)

    def span(self, node: SyntaxTreeNode) -> str:
        match node.type:
            case "softbreak":
                return self.d.soft_break
            case "hardbreak":
                return self.d.hard_break
            case "em":
                return self.wrapped(node, self.d.italic)
            case "strong":
                return self.wrapped(node, self.d.bold)
            case "s":
                return self.wrapped(node, self.d.strike)
            case "code_inline":
                return self.d.code(node.content)
            case "link":
                label, url = self.inline(node.children), str(node.attrs.get("href", ""))
                return self.d.link(label, url) if _SAFE.match(url) else label
            case "image":
                alt, url = self.d.escape(_letters(node.children)), str(node.attrs.get("src", ""))
                return self.d.image(alt, url) if _SAFE.match(url) else alt
            case _:
                return self.text(node.content)

    def text(self, text: str) -> str:
        """Letters escaped, addresses left whole."""
        shown, at = "", 0
        for address in _ADDRESS.finditer(text):
            shown += self.d.escape(text[at : address.start()]) + self.d.url(address[0])
            at = address.end()
        return shown + self.d.escape(text[at:])

    def wrapped(self, node: SyntaxTreeNode, marks: tuple[str, str]) -> str:
        inner = self.inline(node.children)
        return f"{marks[0]}{inner}{marks[1]}" if inner.strip() else inner


def _letters(nodes: Sequence[SyntaxTreeNode]) -> str:
    return "".join(node.content or _letters(node.children) for node in nodes)


def _grows_too_long(more: int, cells: _Cells) -> bool:
    """True where `more` letters are too many for a table whose cells say no more than they do: a text made for it would fill
    the memory."""
    return more > _ALWAYS_FINE + 8 * sum(len(cell) for row in cells for cell in row)


def columns(text: str) -> int:
    """How many columns of a fixed-width font `text` fills; Chinese characters fill two."""
    return sum(
        0 if unicodedata.combining(c) or c == "\u200d" else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _pad(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


# --- cutting -----------------------------------------------------------------------------------

_ALWAYS_FINE: Final = 65_536
"""Letters by which any table may grow in writing."""

WIDEST: Final = 60
"""Columns of a fixed-width font up to which the cells of a table are made equally wide."""

SMALLEST_LIMIT: Final = 64
"""Below this there is no room for a number, a code fence and a character."""


def parts(markdown: str, *, limit: int, measure: Measure = len) -> list[str]:
    """`markdown` in pieces of at most `limit` by `measure`, numbered "(1/3)" where there is more than one.

    Cuts between blocks where it can, then between lines, sentences, words, and at last between characters as a person sees
    them. A code block or a span that is cut is closed and opened again; a table's head is repeated. Raises ValueError for
    a limit below `SMALLEST_LIMIT`.
    """
    if limit < SMALLEST_LIMIT:
        raise ValueError(f"a limit of {limit} leaves no room for text; the smallest is {SMALLEST_LIMIT}")
    size = measure(markdown)
    if size <= limit:
        return [markdown]
    lines = _lines(_DEEP.sub(r"\1", _clean(markdown)), limit=limit, measure=measure)
    for digits in range(len(str(size // limit + 1)), 9):
        nines = "9" * digits
        pieces = _Cutter(list(lines), f"({nines}/{nines})\n\n", limit=limit, measure=measure).cut()
        if len(pieces) <= 1:
            return pieces or [""]
        if len(pieces) < 10**digits:
            return [f"({n}/{len(pieces)})\n\n{piece}" for n, piece in enumerate(pieces, 1)]
    raise ValueError(f"a text of {len(markdown)} characters cannot be cut into pieces of {limit}")


def written_parts(markdown: str, *, limit: int, written: Callable[[str], str], measure: Measure = len) -> list[str]:
    """`markdown` in pieces of which each, as it is `written` in the end, has at most `limit` by `measure`.

    Cut by the length of the source, in smaller pieces where some grow too much in writing: to write them again for every place
    at which they could be cut would take minutes for a text that is made to take long.
    """
    size = measure(markdown)
    if size <= 2 * limit and measure(written(markdown)) <= limit:  # a short text may be longer in writing, or shorter
        return [markdown]
    for part in (1.0, 0.8, 0.5, 0.25, 0.12, 0.03):
        cut = min(int(limit * part), size - 1)
        pieces = parts(markdown, limit=max(SMALLEST_LIMIT, cut), measure=measure)
        if all(measure(written(piece)) <= limit for piece in pieces):
            return pieces
    return parts(markdown, limit=limit, measure=lambda piece: measure(written(piece)))


class _Fence(NamedTuple):
    first: int
    """Line of the opening fence."""
    last: int
    """Line of the closing fence, or the line after the content where there is none."""
    ended: bool
    open: str
    close: str
    indent: int
    """Spaces before the fence, where nothing but spaces is before it."""


class _Line(NamedTuple):
    text: str
    border: int
    """How good a place before this line is to cut: 3 a block begins, 2 an item begins, 1 a line, 0 never."""
    reopen: str = ""
    """Goes before the line where a part begins with it."""
    close: str = ""
    """Goes at the end of a part that ends before the line."""
    code: bool = False
    indent: int = 0
    """Spaces that are taken away from this and the following lines of the block where a part begins with it."""
    quote: str = ""
    """What begins every line of the quotation that this line stands in."""


def _fences(tokens: Iterable[Token], lines: Sequence[str]) -> Iterator[_Fence]:
    for token in tokens:
        if token.type != "fence" or not token.map:
            continue
        first, end = token.map
        before = lines[first].partition(token.markup)[0] if token.markup in lines[first] else ""
        prefix = re.sub(r"[^>\s]", " ", before)
        indent = len(prefix) if ">" not in prefix else 0
        lead = "" if ">" not in prefix else prefix
        last = lines[end - 1].strip("> \t") if end - 1 > first else ""
        ended = len(last) >= len(token.markup) and set(last) == {token.markup[0]}
        opening = f"{lead}{token.markup}{token.info.strip()}"
        yield _Fence(first, end - 1 if ended else end, ended, opening, f"{lead}{token.markup}", indent)


def _lines(markdown: str, *, limit: int, measure: Measure) -> list[_Line]:
    """The source lines of `markdown`, each with what a cut before it needs."""
    tokens = _blocks(markdown)
    raw = markdown.split("\n")
    lines = [_Line(text, 1, quote=_quote_of(text)) for text in raw]
    for token in tokens:
        if not token.map:
            continue
        first, end = token.map
        strength = 3 if token.level == 0 else 2 if token.type == "list_item_open" else 0
        if strength and token.nesting >= 0:
            lines[first] = lines[first]._replace(border=max(strength, lines[first].border), indent=_indent_of(raw[first]))
        if token.type == "heading_open" and end < len(lines):
            if end - first > 1:
                lines[end - 1] = lines[end - 1]._replace(border=0)  # the underline of a heading
            lines[end] = lines[end]._replace(border=min(1, lines[end].border))
        if token.type == "code_block":
            for n in range(first, end):
                lines[n] = lines[n]._replace(code=True, indent=0, quote="")
        if token.type == "table":
            _mark_table(lines, first, end, limit=limit, measure=measure)
    for n in range(1, len(lines)):
        if lines[n].border == 1 and not lines[n].code and not lines[n].reopen:
            lines[n] = lines[n]._replace(indent=_indent_of(raw[n]))
    for fence in _fences(tokens, raw):
        _mark_fence(lines, fence, limit=limit, measure=measure)
    return lines


def _mark_table(lines: list[_Line], first: int, end: int, *, limit: int, measure: Measure) -> None:
    head = f"{lines[first].text}\n{lines[first + 1].text}\n"
    lines[first + 1] = lines[first + 1]._replace(border=0)
    if measure(head) > limit // 3 or lines[first].quote or _indent_of(head):
        return
    for n in range(first + 2, end):
        lines[n] = lines[n]._replace(border=0 if n == first + 2 else 2, reopen=head)


def _mark_fence(lines: list[_Line], fence: _Fence, *, limit: int, measure: Measure) -> None:
    if measure(fence.close) > limit // 6:
        return  # a fence this long leaves no room: its lines are cut as text
    opening = fence.open
    if measure(opening) > limit // 4:
        opening = fence.close
        info = fence.open[len(fence.close) :]
        lines[fence.first] = lines[fence.first]._replace(text=f"{opening}\n{info}", code=True)
    for n in range(fence.first + 1, min(fence.last, len(lines))):
        lines[n] = _Line(
            lines[n].text,
            0 if n == fence.first + 1 else 1,
            reopen=f"{opening}\n",
            close=f"\n{fence.close}",
            code=True,
            indent=fence.indent,
        )
    if fence.ended and fence.last < len(lines):
        lines[fence.last] = lines[fence.last]._replace(border=0, code=True, reopen="", close=f"\n{fence.close}", quote="")
    if fence.last + 1 < len(lines) and fence.indent:
        after = lines[fence.last + 1]
        lines[fence.last + 1] = after._replace(indent=_indent_of(after.text))


def _indent_of(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


_QUOTE = re.compile(r"(?: {0,3}> ?)+")


def _quote_of(text: str) -> str:
    found = _QUOTE.match(text)
    return found[0] if found else ""


class _Cutter:
    """Takes parts off the front of `lines` until none is left."""

    def __init__(self, lines: list[_Line], label: str, *, limit: int, measure: Measure) -> None:
        self.lines = lines
        self.label = label
        self.limit = limit
        self.measure = measure
        self.taken = 0
        """Characters that the last cut line gave to its part: where the next search begins."""

    def cut(self) -> list[str]:
        pieces: list[str] = []
        at = 0
        while (at := self.skip_blank(at)) < len(self.lines):
            end = self.end_of_part(at)
            pieces.append(self.text(at, end))
            at = end
        return pieces

    def skip_blank(self, at: int) -> int:
        while at < len(self.lines) and not self.lines[at].code and not self.lines[at].text.strip():
            at += 1
        return at

    def text(self, at: int, end: int) -> str:
        """The part that holds the lines from `at` to `end`, without its number."""
        first = self.lines[at]
        held = self.lines[at:end]
        indent = first.indent if at else 0
        shown = []
        for line in held:
            if line.border == 3 and line is not first:
                indent = 0
            shown.append(line.text[min(indent, _indent_of(line.text)) :] if indent else line.text)
        while len(shown) > 1 and not held[len(shown) - 1].code and not shown[-1].strip():
            shown.pop()
        close = self.lines[end].close if end < len(self.lines) and held[-1].code else ""
        return (first.reopen if at else "") + "\n".join(shown) + close

    def fits(self, at: int, end: int) -> bool:
        """True where the lines from `at` to `end` are one part. Of a text that is far too long only the beginning is measured:
        a measure may render what it measures, and the rest of a long paragraph is asked about once for every part of it."""
        text = self.label + self.text(at, end)
        probe = 3 * self.limit // 2
        while probe < len(text) // 2:
            if self.measure(text[:probe]) > self.limit * 9 // 8:
                return False
            probe *= 2
        return self.measure(text) <= self.limit

    def end_of_part(self, at: int) -> int:
        low, high = at, at + 1
        while high <= len(self.lines) and self.fits(at, high):
            low, high = high, high + max(1, high - at)
        high = min(high, len(self.lines) + 1)
        while high - low > 1 + (low - at) // 32:  # measuring may be dear: near enough will do
            middle = (low + high) // 2
            low, high = (middle, high) if self.fits(at, middle) else (low, middle)
        if low == len(self.lines):
            return low
        for strength, filled in ((3, 0.4), (2, 0.5), (1, 0.5)):
            for end in range(low, at, -1):
                if self.lines[end].border >= strength:
                    if self.measure(self.text(at, end)) >= filled * self.limit:
                        return end
                    break
        whole = low > at and self.alone(low)
        ends = [end for end in range(low, at, -1) if self.lines[end].border]
        if ends and (whole and self.lines[low].code):
            return ends[0]
        if self.split(at, low):
            return low + 1
        if ends:
            return ends[0]
        if low > at:
            return low
        self.lines[at] = self.lines[at]._replace(reopen="", close="", quote="")
        self.split(at, at, hard=True)
        return at + 1

    def alone(self, n: int) -> bool:
        """True where line `n` fits into a part of its own."""
        line = self.lines[n]
        return self.measure(f"{self.label}{line.reopen}{line.text}{line.close}") <= self.limit

    def split(self, at: int, n: int, *, hard: bool = False) -> bool:
        """Replaces line `n` by two, so that the lines from `at` to the first of them fit; False where nothing of it fits."""
        line = self.lines[n]
        close = line.close or (self.lines[n + 1].close if line.code and n + 1 < len(self.lines) else "")
        before = self.text(at, n) + "\n" if n > at else (line.reopen if at else "")
        if n > at and self.lines[n].close and self.lines[n - 1].code:
            before = before.removesuffix(f"{self.lines[n].close}\n") + "\n"
        indent = min(self.lines[at].indent if at else 0, _indent_of(line.text))

        def small(head: str) -> bool:
            return self.measure(self.label + before + head[indent:] + close) <= self.limit

        within = _Within(line.text, small, near=self.taken)
        found = _split_line(line, small, within, start=len(line.quote), hard=hard)
        if found is None:
            return False
        head, tail = found
        self.taken = within.yes
        reopen = line.reopen if line.code else ""
        rest = line._replace(text=line.quote + tail, border=1, reopen=reopen, close=close, indent=0)
        self.lines[n : n + 1] = [line._replace(text=head), rest]
        return True


class _Span(NamedTuple):
    start: int
    end: int
    mark: str
    """Closes the span where it is cut, and opens it again; empty: a cut inside breaks it."""


_LONGEST_SPAN: Final = 1000
_SPANS = re.compile(  # lengths are bounded, so that no text makes the search slow
    r"(?<!`)(?P<tick>`+)(?!`).{1,400}?(?<!`)(?P=tick)(?!`)"
    r"|!?\[[^\[\]]{0,400}\]\([^()\s]{0,400}(?:\([^()\s]{0,400}\)[^()\s]{0,400}){0,4}\)"
    r"|<?https?://[^\s<>。，；！？、）】》]{1,400}>?"
    r"|(?P<mark>\*\*|__|~~)(?=\S).{1,400}?(?<=\S)(?P=mark)"
)
_SENTENCE = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|[。！？；…][”’」』）】]*")
_BLOCKLIKE = re.compile(r"\s*+(?:[-+*#>=|]|\d+[.)]|`{3}|~{3})")


class _Within:
    """Whether the first `n` characters of `text` are small enough. Asks `small` only between the longest head known to be and
    the shortest known not to be; `near` is a guess at where that is."""

    def __init__(self, text: str, small: Callable[[str], bool], *, near: int) -> None:
        self.text = text
        self.small = small
        self.yes = 0
        self.no = len(text) + 1
        if 1024 < near < len(text):
            while not self(near) and near > 1024:
                near -= max(1, near // 64)
            while self(near) and near < len(text):
                near += max(1, near // 64)

    def __call__(self, n: int) -> bool:
        if self.yes < n < self.no:
            if self.small(self.text[:n]):
                self.yes = n
            else:
                self.no = n
        return n <= self.yes


def _split_line(line: _Line, small: Callable[[str], bool], within: _Within, *, start: int, hard: bool) -> tuple[str, str] | None:
    """The line in two, the first as long as `small` allows and cut at the best place."""
    text = line.text
    low, high = start, min(start + 256, len(text))
    while high < len(text) and within(high):
        low, high = high, min(2 * high - start, len(text))
    while high - low > (low - start) // 64:  # the longest head by size alone, or near it: measuring may be dear
        middle = (low + high + 1) // 2
        low, high = (middle, high) if within(middle) else (low, middle - 1)
    most = min(low, len(text) - 1)
    if most <= start:
        if not hard or len(text) - start < 2:
            return None
        most = start + 1
    spans = [] if line.code else _spans(text[: most + _LONGEST_SPAN])  # what is far behind the cut does not matter
    least = start + (most - start) // 2
    kinds: list[Iterable[int]] = []
    if not line.code:
        kinds.append(reversed([m.end() for m in _SENTENCE.finditer(text, start, most + 1)]))
        kinds.append(n for n in range(most, least - 1, -1) if text[n] == " " or text[n - 1] in " ，、,;:：")
    for kind in kinds:
        for n in kind:  # the last good place: to look at all takes long where the rest of the text is
            if least <= n <= most and not _inside(spans, n) and not _BLOCKLIKE.match(text, n):
                return text[:n].rstrip(), text[n:].lstrip()
    for n in range(most, start, -1):
        if whole_before(text, n) and not _inside(spans, n) and (n > start + 16 or not spans):
            return text[:n], text[n:]
    for n in range(most, start, -1):
        span = _inside(spans, n)
        mark = span.mark if span else ""
        if whole_before(text, n) and small(text[:n] + mark) and not (span and mark and n - span.start <= len(mark)):
            return text[:n] + mark, mark + text[n:]
    return text[:most], text[most:]


def _spans(text: str) -> list[_Span]:
    return [_Span(m.start(), m.end(), m["tick"] or m["mark"] or "") for m in _SPANS.finditer(text)]


def _inside(spans: Sequence[_Span], n: int) -> _Span | None:
    at = bisect_left(spans, n, key=lambda span: span.start) - 1
    return spans[at] if at >= 0 and n < spans[at].end else None


def whole_before(text: str, n: int) -> bool:
    """True where cutting `text` at `n` divides nothing that a person sees as one character, and no backslash escape."""
    if not 0 < n < len(text):
        return True
    last, following = text[n - 1], text[n]
    if following in "\u200d\u200c" or last == "\u200d" or unicodedata.category(following) in ("Mn", "Me", "Mc"):
        return False
    if "\U0001f3fb" <= following <= "\U0001f3ff" or "\U000e0020" <= following <= "\U000e007f":
        return False  # skin tones; the letters inside a flag of a region
    if "\ud800" <= last <= "\udbff" or "\u1160" <= following <= "\u11ff" or (last == "\r" and following == "\n"):
        return False
    if _is_flag(last) and _is_flag(following):
        run = n
        while run and _is_flag(text[run - 1]):
            run -= 1
        return (n - run) % 2 == 0
    return (len(text[:n]) - len(text[:n].rstrip("\\"))) % 2 == 0


def _is_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
