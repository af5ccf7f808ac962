"""Who has which form, example and tool: what a plug-in clashes with is looked up, rather than compared with every other one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Claim(NamedTuple):
    """What one version of a plug-in has."""

    plugin: str
    """Name of the plug-in; its versions do not clash with each other."""
    flows: frozenset[str]
    examples: Mapping[str, str]
    """As `examples_of` gives them: what starts a flow, with the flow's name."""
    tools: frozenset[str]
    """Names of the tools among its methods."""

    def words(self) -> Iterable[tuple[str, str]]:
        """All that may clash, each with its kind."""
        yield from (("flow", name) for name in self.flows)
        yield from (("example", said) for said in self.examples)
        yield from (("tool", name) for name in self.tools)


class Claims:
    """The claims of all plug-ins, by their ids (`name@version`)."""

    def __init__(self) -> None:
        self._of: dict[str, Claim] = {}
        self._who: dict[tuple[str, str], dict[str, None]] = {}

    def __getitem__(self, id_: str) -> Claim:
        return self._of[id_]

    def take(self, id_: str, claim: Claim) -> None:
        """Notes the claim, in place of an earlier one of this id."""
        for word in self._of[id_].words() if id_ in self._of else ():
            self._who[word].pop(id_, None)
        self._of[id_] = claim
        for word in claim.words():
            self._who.setdefault(word, {})[id_] = None

    def rivals(self, claim: Claim, *kinds: str) -> set[str]:
        """The ids of other plug-ins that have something of `kinds` that the claim names."""
        found = {id_ for word in claim.words() if word[0] in kinds for id_ in self._who.get(word, ())}
        return {id_ for id_ in found if self._of[id_].plugin != claim.plugin}
