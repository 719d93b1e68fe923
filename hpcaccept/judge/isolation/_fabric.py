"""What the tests say about links, leaves and sizes.

At most one of them is bad at a time (one that is blamed becomes known, and another may be looked for). A fault of the fabric shows in a test when
both ends, or enough nodes, are in it; it then hides what the nodes would have shown. How much better it explains all tests than nodes alone
is a sum over the tests that no component owns, and an exact sum over the combinations of each component.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcaccept.judge.isolation.belief import Belief, Fabric, pairs_of
from hpcaccept.judge.isolation.component import Bools, Component, Ints, log_sum
from hpcaccept.judge.isolation.levels import Floats

#: Shares of ``fabric_share`` that a bad link, a bad leaf, a bad pair of leaves, and a size have.
_KINDS = {"link": 0.4, "leaf": 0.1, "leaf_pair": 0.25, "scale": 0.25}


#: In a fleet of more than so many nodes, links are looked at where all of them together could be as probable as the second.
_MANY, _MATTERS = 1000, 0.1


def sizes_of(nodes: int) -> Ints:
    """Sizes from which on everything may fail: those that tests can tell apart well enough."""
    sizes = [3.0]
    while sizes[-1] * 1.25 < nodes:
        sizes.append(max(sizes[-1] + 1, sizes[-1] * 1.25))
    return np.unique(np.append(np.array(sizes), nodes).round().astype(np.int64).clip(2, nodes))


@dataclass(frozen=True, eq=False)
class _Tests:
    """All tests as tables.

    Attributes:
        members: bool[T, N].
        link_class: int64[N]: nodes that were in the same tests are of one class.
        of_class: bool[T, C]: which classes are in each test.
        leaves: bool[T, L]: which leaves each test touches.
        size: int64[T].
        gain: float64[T]: log-likelihood with a fault of the fabric in it, less what nodes alone predicted; 0 of tests of components.
        owned: test → number of its component.
    """

    members: Bools
    link_class: Ints
    of_class: Bools
    leaves: Bools
    size: Ints
    gain: Floats
    owned: dict[int, int]


def fabric_of(belief: Belief) -> Fabric:
    """The posterior of everything that is not a node."""
    if not belief.seen:
        return Fabric(none=1 - belief.settings.fabric_share)
    level = _likeliest_level(belief)
    found = _at_level(belief, level)
    # Faults of the other levels explain less: they keep to what is left of the prior.
    total = found.total() - np.log(belief.levels.count)
    none = np.log1p(-belief.settings.fabric_share)
    every = log_sum(np.array([none, total]), axis=0)
    return found.normalised(float(np.exp(none - every)), float(np.exp(total - every)), level)


def _likeliest_level(belief: Belief) -> int:
    """The level that explains best what speaks for something bad."""
    gains = np.array(
        [seen.log_likelihoods[1 : belief.levels.count + 1] - seen.log_likelihoods[0] for seen in belief.seen]
    )
    return 1 + int(gains.clip(0.0).sum(axis=0).argmax())


@dataclass(frozen=True, eq=False)
class _Weights:
    """Log weights of all faults of one level; empty where a kind is not asked for."""

    scale: Floats
    leaves: Floats
    leaf_pairs: Floats
    links: Floats
    link_class: Ints

    def _pairs(self) -> Floats:
        return pairs_of(self.link_class, len(self.links)) if self.links.size else self.links

    def total(self) -> float:
        """Log of all of it."""
        with np.errstate(divide="ignore"):
            links = self.links + np.log(self._pairs()) if self.links.size else self.links
        kinds = [one.ravel() for one in (self.scale, self.leaves, self.leaf_pairs, links) if one.size]
        return float(log_sum(np.concatenate(kinds), axis=0))

    def normalised(self, none: float, share: float, level: int) -> Fabric:
        total = self.total()
        parts = {
            "scale": np.exp(self.scale - total) * share,
            "leaf": np.exp(self.leaves - total) * share,
            "leaf_pair": np.exp(self.leaf_pairs - total) * share,
            "link": np.exp(self.links - total) * share,
        }
        return Fabric(
            none=none,
            kinds={
                kind: float((part * (self._pairs() if kind == "link" else 1)).sum()) for kind, part in parts.items()
            },
            scale=parts["scale"],
            leaves=parts["leaf"],
            leaf_pairs=parts["leaf_pair"],
            link_class=self.link_class,
            links=parts["link"],
            level=level,
        )


def _at_level(belief: Belief, level: int) -> _Weights:
    tests = _tests_of(belief, level)
    sizes, leaves, nodes = sizes_of(len(belief.nodes)), len(belief.leaf_names), len(belief.nodes)
    prior = {kind: np.log(belief.settings.fabric_share * part) for kind, part in _KINDS.items()}
    by_size = tests.size[:, None] >= sizes
    many = tests.leaves & (tests.leaves.sum(axis=1, keepdims=True) > 1)
    scale = tests.gain @ by_size + prior["scale"] - np.log(len(sizes))
    of_leaf = tests.gain @ many + (prior["leaf"] - np.log(max(leaves, 1)))
    weighed = tests.leaves * tests.gain[:, None]
    of_pair = weighed.T @ tests.leaves + (prior["leaf_pair"] - np.log(max(leaves * (leaves - 1), 1)))
    tables = [_Explained(component, level, belief.log_share) for component in belief.components]
    places = [np.array(component.tests) for component in belief.components]
    for table, rows in zip(tables, places, strict=True):
        scale += table.gains(by_size[rows])
        if leaves:
            of_leaf += table.gains(many[rows])
            of_pair += table.gains_of_pairs(tests.leaves[rows])
    of_link = np.zeros((0, 0))
    by_pair = prior["link"] - np.log(max(1.0, nodes * (nodes - 1) / 2))
    suspicious = np.array([seen.suspicious for seen in belief.seen], bool)
    if _links_could_matter(tests, suspicious, tables, places, by_pair):
        of_class = tests.of_class.astype(np.float64)
        of_link = (of_class * tests.gain[:, None]).T @ of_class + by_pair
        for table, rows in zip(tables, places, strict=True):
            of_link += table.gains_of_pairs(tests.of_class[rows])
    if leaves:
        np.fill_diagonal(of_pair, -np.inf)
    for fault, _ in belief.known:
        if fault.kind == "link" and of_link.size:
            one, other = (tests.link_class[belief.index[name]] for name in fault.where)
            of_link[one, other] = of_link[other, one] = -np.inf
        if fault.kind == "leaf_pair":
            one, other = (belief.leaf_names.index(name) for name in fault.where)
            of_pair[one, other] = of_pair[other, one] = -np.inf
        if fault.kind == "leaf":
            of_leaf[belief.leaf_names.index(fault.where[0])] = -np.inf
    few = leaves < 2
    return _Weights(
        scale, of_leaf[:0] if few else of_leaf, of_pair[:0, :0] if few else of_pair, of_link, tests.link_class
    )


def _links_could_matter(
    tests: _Tests, suspicious: Bools, tables: list[_Explained], places: list[Ints], by_pair: float
) -> bool:
    """Whether the links of the suspicious tests together are so probable that they are worth a table of all pairs."""
    if not suspicious.any() or tests.members.shape[1] <= _MANY:
        return bool(suspicious.any())
    size = tests.size[suspicious & (tests.gain > 0)].astype(np.float64)
    alone = float((tests.gain.clip(0.0) @ tests.members).max())
    mass = float((size * (size - 1) / 2).sum()) * np.exp(by_pair + alone)
    for table, rows in zip(tables, places, strict=True):
        mass += table.mass_of_pairs(tests.members[rows], by_pair)
    return bool(mass > _MATTERS)


def _tests_of(belief: Belief, level: int) -> _Tests:
    nodes, leaves = len(belief.nodes), len(belief.leaf_names)
    members = np.zeros((len(belief.seen), nodes), bool)
    touched = np.zeros((len(belief.seen), leaves), bool)
    gain = np.zeros(len(belief.seen))
    owned = {
        test: number for number, one in enumerate(belief.components) for test in np.array(one.tests)[one.owns].tolist()
    }
    for row, seen in enumerate(belief.seen):
        members[row, seen.members] = True
        on = belief.leaf[seen.members]
        touched[row, on[on >= 0]] = True
        gain[row] = 0.0 if row in owned else seen.log_likelihoods[level] - seen.predicted
    key = members
    if any(fault.kind == "link" for fault, _ in belief.known):
        ends = [belief.index[name] for fault, _ in belief.known if fault.kind == "link" for name in fault.where]
        key = np.concatenate([members, np.arange(nodes) == np.array(ends)[:, None]])
    packed = np.ascontiguousarray(np.packbits(key, axis=0).T)
    _, first, which = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_index=True, return_inverse=True)
    return _Tests(members, which.ravel(), members[:, first], touched, members.sum(axis=1), gain, owned)


class _Explained:
    """How much better a component's tests are explained where a fault of the fabric explains some of them.

    Exact in the suspicious tests. Those that passed speak against the fault one by one.

    Attributes:
        suspicious: bool[T].
    """

    def __init__(self, component: Component, level: int, log_share: Floats) -> None:
        table = component.log_likelihoods
        hit = table[np.arange(len(component.tests)), np.maximum(component.codes, level)]
        change = np.where(component.owns, hit, 0.0) - component.seen
        self.suspicious = np.asarray(table[:, 1:].max(axis=1) > table[:, 0])
        self._change = change[:, self.suspicious]
        self._weights = component.weights(log_share)
        self._against = np.log(self._weights @ np.exp(change[:, ~self.suspicious]))

    def mass_of_pairs(self, members: Bools, by_pair: float) -> float:
        """At most the weight of all links in these tests, of which bool[T, N] are the members, each with a prior of exp(by_pair)."""
        if not self.suspicious.any():
            return 0.0
        hits = members[self.suspicious]
        there = hits[:, hits.any(axis=0)]
        classes, which = np.unique(there.T, axis=0, return_inverse=True)
        both = (classes[:, None, :] & classes[None, :, :]).reshape(len(classes) ** 2, -1)
        weight = np.exp(log_sum(self._change @ both.T + np.log(self._weights + 1e-300)[:, None], axis=0) + by_pair)
        pairs = pairs_of(which.ravel(), len(classes)).ravel()
        return float((weight * pairs)[both.any(axis=1)].sum())

    def gains(self, hits: Bools) -> Floats:
        """float64[F]: for faults that hit these tests: bool[T, F]."""
        against = self._against @ hits[~self.suspicious]
        if not self.suspicious.any():
            return np.asarray(against)
        patterns, which = np.unique(hits[self.suspicious].T, axis=0, return_inverse=True)
        joint = self._change @ patterns.T + np.log(self._weights + 1e-300)[:, None]
        return np.asarray(log_sum(joint, axis=0)[which.ravel()] + against)

    def gains_of_pairs(self, touched: Bools) -> Floats:
        """float64[n, n]: for faults between two that hit where both are: bool[T, n]."""
        passed = touched[~self.suspicious].astype(np.float64)
        against = (passed * self._against[:, None]).T @ passed
        if not self.suspicious.any():
            return np.asarray(against)
        classes, which = np.unique(touched[self.suspicious].T, axis=0, return_inverse=True)
        which = which.ravel()
        both = (classes[:, None, :] & classes[None, :, :]).reshape(len(classes) ** 2, -1)
        joint = self._change @ both.T + np.log(self._weights + 1e-300)[:, None]
        table = log_sum(joint, axis=0).reshape(len(classes), len(classes))
        return np.asarray(table[which[:, None], which] + against)

    def weights_with(self, patterns: Bools) -> Floats:
        """float64[H, P]: posterior of the combinations where a fault hits these of the suspicious tests: bool[T, P]."""
        joint = self._change @ patterns + np.log(self._weights + 1e-300)[:, None]
        return np.asarray(np.exp(joint - log_sum(joint, axis=0)))


def reweighed(belief: Belief, component: Component) -> Floats:
    """float64[H]: posterior of the combinations of a component, with the fabric as another explanation."""
    fabric = belief.fabric
    explained = _Explained(component, fabric.level, belief.log_share)
    if not explained.suspicious.any():
        return component.weights(belief.log_share)
    rows = np.array(component.tests)[explained.suspicious]
    tests = _tests_of(belief, fabric.level)
    patterns: list[Bools] = [(tests.size[rows, None] >= sizes_of(len(belief.nodes)))[:, : len(fabric.scale)]]
    masses = [fabric.scale]
    if fabric.leaves.size:
        touched = tests.leaves[rows]
        patterns.append(touched & (touched.sum(axis=1, keepdims=True) > 1))
        masses.append(fabric.leaves)
        one, other = np.triu_indices(len(fabric.leaves), 1)
        patterns.append(touched[:, one] & touched[:, other])
        masses.append(2 * fabric.leaf_pairs[one, other])
    if fabric.links.size:
        _add_links(fabric, tests.of_class[rows], patterns, masses)
    found = fabric.none * component.weights(belief.log_share)
    unique, place = np.unique(np.concatenate(patterns, axis=1).T, axis=0, return_inverse=True)
    mass = np.bincount(place.ravel(), np.concatenate(masses), len(unique))
    # What was not looked at, or hits none of these tests, leaves the nodes as they are.
    found += max(0.0, 1 - fabric.none - float(mass.sum())) * component.weights(belief.log_share)
    return found + explained.weights_with(unique.T) @ mass


def _add_links(fabric: Fabric, of_class: Bools, patterns: list[Bools], masses: list[Floats]) -> None:
    """Which of these tests each two classes of nodes are in, and how probable a bad link between them is."""
    classes, which = np.unique(of_class.T, axis=0, return_inverse=True)
    member = np.zeros((len(classes), len(fabric.links)))
    member[which.ravel(), np.arange(len(fabric.links))] = 1
    table = member @ (pairs_of(fabric.link_class, len(fabric.links)) * fabric.links) @ member.T
    patterns.append((classes[:, None, :] & classes[None, :, :]).reshape(-1, len(of_class)).T)
    masses.append(table.ravel())
