"""Which small changes can be made to a module? Each is a place in its text and what stands there instead.

The text is changed, not the tree, so that line numbers and comments stay. What is inside an f-string, an annotation or a docstring is left
alone: it is text for people. So is what only a type checker reads.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Pow: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
}  # fmt: skip
_OTHER_NAME = {
    "min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum",
    "argmin": "argmax", "argmax": "argmin", "startswith": "endswith", "endswith": "startswith",
    "partition": "rpartition", "rpartition": "partition",
}  # fmt: skip
#: Parts of a regular expression and what a careless hand writes instead.
_REGEX = ((r"\d+", r"\d*"), (r"\S+", r"\S*"), ("^", ""), ("$", ""), (r"\b", ""), (".*", ".?"), ("+", "?"))
_FEWEST_ELEMENTS = 2


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        path: of the module, below the top of the checkout.
        line: number of the line, from 1.
        operator: kind of the change.
        begin, end: bytes of the module's text that are replaced.
        old, new: what stands there, and what stands there instead.
        context: the whole line as it was, stripped.
    """

    path: str
    line: int
    operator: str
    begin: int
    end: int
    old: str
    new: str
    context: str

    def applied(self, text: bytes) -> bytes:
        """The module's text with the change."""
        return text[: self.begin] + self.new.encode() + text[self.end :]


def mutants_of(path: str, text: str) -> list[Mutant]:
    """Every change to a module, in the order of its text."""
    data = text.encode()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, operator, new in _changes(ast.parse(text)):
        assert isinstance(node, ast.expr | ast.stmt)
        begin, end = (
            starts[node.lineno - 1] + node.col_offset,
            starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0),
        )
        context = text.splitlines()[node.lineno - 1].strip()
        mutant = Mutant(path, node.lineno, operator, begin, end, data[begin:end].decode(), new, context)
        if new != mutant.old:
            found.append(mutant)
    return list(dict.fromkeys(sorted(found, key=lambda mutant: (mutant.begin, mutant.end, mutant.new))))


def _changes(tree: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    for node in _code(tree):
        yield from _of_conditions(node)
        yield from _of_numbers(node)
        yield from _of_names_and_texts(node)
        yield from _of_parts(node)
        yield from _of_statements(node)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only people and type checkers read."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
        return
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_type(node.value):
        return
    yield node
    for name, field in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "keywords" if _is_raise(node) else ""}:
            continue
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, ast.AST) and not _is_docstring(child):
                yield from _code(child)


def _is_type(node: ast.AST) -> bool:
    """True for ``A | B`` and ``Literal["a", "b"]``."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and node.value.id in {"Literal", "dict", "tuple", "list"}
    sides = [node.left, node.right] if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) else []
    return bool(sides) and all(isinstance(side, ast.Name) and side.id[0].isupper() for side in sides)


def _is_raise(node: ast.AST) -> bool:
    return isinstance(node, ast.Raise)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _of_conditions(node: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        other = _COMPARE[type(node.ops[0])]()
        yield node, "compare", f"({ast.unparse(ast.Compare(node.left, [other], node.comparators))})"
    if isinstance(node, ast.BoolOp):
        other_word = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield node, "boolean", f"({ast.unparse(ast.BoolOp(other_word, node.values))})"
        for dropped in node.values:
            rest = [ast.unparse(value) for value in node.values if value is not dropped]
            word = " and " if isinstance(node.op, ast.And) else " or "
            yield node, "dropped term", "(" + word.join(f"({text})" for text in rest) + ")"
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield node.test, "negated condition", f"(not ({ast.unparse(node.test)}))"
    if isinstance(node, ast.comprehension):
        for test in node.ifs:
            yield test, "negated condition", f"(not ({ast.unparse(test)}))"
            yield test, "dropped filter", "True"


def _of_numbers(node: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield node, "constant", str(not node.value)
        elif isinstance(node.value, int):
            yield node, "constant", str(node.value + 1)
        elif isinstance(node.value, float):
            yield node, "constant", repr(node.value * 1.25 if node.value else 1.0)
    if isinstance(node, ast.BinOp):
        if type(node.op) in _ARITHMETIC:
            yield node, "arithmetic", f"({ast.unparse(ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right))})"
        if isinstance(node.op, ast.Add | ast.Sub | ast.BitAnd | ast.BitOr):
            yield node, "dropped term", f"({ast.unparse(node.left)})"
            yield node, "dropped term", f"({ast.unparse(node.right)})"
    if isinstance(node, ast.UnaryOp):
        yield node, "arithmetic", f"({ast.unparse(node.operand)})"


def _of_names_and_texts(node: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    if not isinstance(node, ast.Call):
        return
    called = node.func
    if isinstance(called, ast.Name) and called.id in _OTHER_NAME:
        yield called, "min/max, any/all", _OTHER_NAME[called.id]
    if isinstance(called, ast.Attribute) and called.attr in _OTHER_NAME:
        yield called, "min/max, any/all", f"({ast.unparse(called.value)}).{_OTHER_NAME[called.attr]}"
    if ast.unparse(called).startswith("re.") and node.args and isinstance(node.args[0], ast.Constant):
        pattern = str(node.args[0].value)
        for part, instead in _REGEX:
            for place in re.finditer(re.escape(part), pattern):
                yield node.args[0], "regex", repr(pattern[: place.start()] + instead + pattern[place.end() :])


def _of_parts(node: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    if isinstance(node, ast.Tuple | ast.List | ast.Set) and len(node.elts) >= _FEWEST_ELEMENTS:
        alike = {type(part) for part in node.elts}
        if isinstance(node, ast.Tuple) and alike not in ({ast.Constant}, {ast.Tuple}):
            return  # its places have meanings
        for dropped in node.elts:
            rest = type(node)(elts=[part for part in node.elts if part is not dropped], ctx=ast.Load())  # type: ignore[call-arg]
            yield node, "element of a literal", ast.unparse(rest)
    if isinstance(node, ast.Dict) and len(node.keys) >= _FEWEST_ELEMENTS:
        for dropped_at in range(len(node.keys)):
            pairs = [pair for at, pair in enumerate(zip(node.keys, node.values, strict=True)) if at != dropped_at]
            yield (
                node,
                "element of a literal",
                ast.unparse(ast.Dict([key for key, _ in pairs], [value for _, value in pairs])),
            )
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        part = node.slice
        for lower, upper in ((None, part.upper), (part.lower, None)):
            if (lower, upper) == (part.lower, part.upper):
                continue
            yield node, "slice", ast.unparse(ast.Subscript(node.value, ast.Slice(lower, upper, part.step), node.ctx))


def _of_statements(node: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    for body in (getattr(node, name, []) for name in ("body", "orelse", "finalbody")):
        for statement in body if isinstance(body, list) else []:
            # Without the only value that a name is given, or without what a function returns, anything would notice.
            in_a_condition = isinstance(statement, ast.Return | ast.Assign) and isinstance(node, ast.If)
            of_a_part = isinstance(statement, ast.Assign) and isinstance(
                statement.targets[0], ast.Subscript | ast.Attribute
            )
            alone = isinstance(statement, ast.Expr | ast.AugAssign | ast.Continue | ast.Break | ast.Raise)
            if (alone or of_a_part or in_a_condition) and not _is_docstring(statement):
                yield statement, "dropped statement", "pass"
