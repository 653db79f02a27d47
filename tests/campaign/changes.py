"""Every small change of a source that a test of its rules should notice.

What belongs here: which changes count, and the source with one of them in it. What does not: trying them
(`mutation.py`).

A change counts if the program goes on and does something else: another comparison, condition, sum, number or value, a
statement or a filter that is gone, another method of Polars, another word of SQL. Left out by rule is what only breaks
at once, and what nobody can tell: names of columns and keys, the last `return` of a function, texts of messages and of
errors, docstrings, logging, annotations, imports, f-strings that are not SQL; `strict` and `check_sortedness`, which
check and do nothing; `maintain_order`, because a small frame keeps its order anyhow; and the place of the only `row`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple


class Change(NamedTuple):
    """`wrong` takes the place of `right`, from byte `start` to `end`.

    It stands on `line`, in a statement on `lines` (first, last), which is done when the module is loaded (`at_import`),
    or else when its function is called.
    """

    kind: str
    line: int
    lines: tuple[int, int]
    start: int
    end: int
    right: str
    wrong: str
    at_import: bool

    def made_in(self, source: bytes) -> bytes:
        """The source with the change."""
        return source[: self.start] + self.wrong.encode() + source[self.end :]

    def __str__(self) -> str:
        """On one line, for people."""
        return re.sub(r"\s+", " ", f"{self.kind}: {self.right} -> {self.wrong or 'nothing'}").strip()


SWAPPED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in", ast.BitAnd: "|", ast.BitOr: "&", ast.Add: "-", ast.Sub: "+",
    ast.Mult: "//", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "//",
}  # fmt: skip

_PAIRS = (
    "min max", "is_null is_not_null", "any all", "first last", "head tail", "floor ceil", "sum max",
    "starts_with ends_with", "strip_prefix strip_suffix", "min_horizontal max_horizontal",
    "any_horizontal all_horizontal", "to_lowercase to_uppercase",
)  # fmt: skip
METHODS = {pair.split()[1]: pair.split()[0] for pair in _PAIRS} | {pair.split()[0]: pair.split()[1] for pair in _PAIRS}
DROPPED = {
    "filter", "unique", "sort", "drop_nulls", "fill_null", "abs", "head", "tail", "reverse", "strip_chars", "round",
    "to_lowercase", "forward_fill", "shift", "over", "cum_sum", "clip",
}  # fmt: skip
OPTIONS = {
    "how": {"left": "inner", "inner": "left", "anti": "semi", "semi": "anti", "full": "left"},
    "keep": {"first": "last", "last": "first", "any": "none", "none": "any"},
}
_SAME_EITHER_WAY = {"check_sortedness", "maintain_order", "strict"}

_SQL = re.compile(r"\b(SELECT|WHERE|QUALIFY|ORDER BY|UPDATE|DELETE FROM)\b")
_WORDS = {
    r" >= ": " > ", r" <= ": " < ", r" = ": " <> ", r" <> ": " = ", r"\bAND\b": "OR", r"\bOR\b": "AND",
    r"\bIS NOT NULL\b": "IS NULL", r"\bIS NULL\b": "IS NOT NULL", r"\bNOT IN\b": "IN", r"(?<!NOT) IN \(": " NOT IN (",
    r"\bmax\(": "min(", r"\bmin\(": "max(", r"\barg_max\(": "arg_min(", r"\bsum\(": "max(",
    r"\bSEMI JOIN\b": "ANTI JOIN",
    r"\bANTI JOIN\b": "SEMI JOIN", r"\bLEFT JOIN\b": "JOIN", r" DESC\b": " ASC", r"\bDISTINCT (?!FROM)": "",
    r"\btrue\b": "false", r"\bfalse\b": "true", r"\bbool_and\b": "bool_or", r"\bNOT (?!IN\b|NULL\b|EXISTS\b)": "",
}  # fmt: skip


def changes(source: bytes) -> list[Change]:
    """All changes of a source that count, in the order of their places."""
    found = _Finder(source)
    found.walk(ast.parse(source))
    return sorted(set(found.changes), key=lambda change: (change.start, change.end, change.wrong))


class _Finder:
    """Walks over a source and notes what counts. A rule of `_RULES` may say which parts of a node are walked over."""

    def __init__(self, source: bytes) -> None:
        self.source, self.changes = source, list[Change]()
        self.starts = [0]
        for line in source.split(b"\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.statement, self.depth = (1, 1), 0

    def walk(self, node: ast.AST) -> None:
        outer = self.statement
        if isinstance(node, ast.stmt):
            block = isinstance(node, (ast.If, ast.For, ast.While, ast.With, ast.Try))
            self.statement = (node.lineno, node.body[0].lineno - 1 if block else node.end_lineno)
        rule = _RULES.get(type(node))
        inner = rule(self, node) if rule else None
        for each in ast.iter_child_nodes(node) if inner is None else inner:
            self.walk(each)
        self.statement = outer

    # --- statements

    def function(self, node: ast.FunctionDef) -> Iterable[ast.AST]:
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.walk(default)
        self.depth += 1
        for each in node.body:
            self.walk(each)
        self.depth -= 1
        return ()

    def annotated(self, node: ast.AnnAssign) -> Iterable[ast.AST]:
        return filter(None, [node.value])

    def error(self, node: ast.Raise) -> Iterable[ast.AST]:
        self._replace("statement", node, "pass")
        return ()

    def nothing(self, _node: ast.AST) -> Iterable[ast.AST]:
        return ()

    def expression(self, node: ast.Expr) -> Iterable[ast.AST] | None:
        if isinstance(node.value, ast.Constant) or self._text(node).startswith("_LOG"):
            return ()
        if isinstance(node.value, ast.Call):
            self._replace("statement", node, "pass")
        return None

    def augmented(self, node: ast.AugAssign) -> Iterable[ast.AST]:
        self._replace("statement", node, "pass")
        return (node.value,)

    def branch(self, node: ast.If) -> None:
        self._condition(node.test)
        for each in node.body:
            if isinstance(each, (ast.Return, ast.Continue, ast.Break)):
                self._replace("statement", each, "pass")

    def chosen(self, node: ast.IfExp) -> None:
        self._condition(node.test)

    def comprehension(self, node: ast.comprehension) -> None:
        for each in node.ifs:
            self._condition(each)

    # --- expressions

    def compared(self, node: ast.Compare) -> None:
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            self._between("comparison", left, right, SWAPPED[type(operator)])
            for side in (left, right):
                self._value(side)

    def joined(self, node: ast.BoolOp) -> None:
        conjunction = isinstance(node.op, ast.And)
        for left, right in pairwise(node.values):
            self._between("condition", left, right, "or" if conjunction else "and")
        for each in node.values if conjunction else ():
            self._replace("condition", each, "True")

    def computed(self, node: ast.BinOp) -> None:
        sides = (node.left, node.right)
        if type(node.op) in SWAPPED and not any(
            isinstance(side, (ast.List, ast.JoinedStr)) or _text(side) for side in sides
        ):
            kind = "condition" if isinstance(node.op, (ast.BitAnd, ast.BitOr)) else "sum"
            self._between(kind, *sides, SWAPPED[type(node.op)])
        if isinstance(node.op, ast.BitAnd):
            self._replace("condition", node, f"({self._text(node.left)})")
            self._replace("condition", node, f"({self._text(node.right)})")

    def turned(self, node: ast.UnaryOp) -> Iterable[ast.AST] | None:
        kind = "sum" if isinstance(node.op, ast.USub) else "condition"
        self._replace(kind, node, self._text(node.operand))
        return () if isinstance(node.operand, ast.Constant) else None

    def constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._replace("number", node, str(not node.value))
        elif isinstance(node.value, (int, float)):
            self._replace("number", node, repr(node.value + 1))
            self._replace("number", node, repr(node.value - 1))
        elif isinstance(node.value, str):
            self._sql(node)

    def formatted(self, node: ast.JoinedStr) -> Iterable[ast.AST]:
        self._sql(node)
        return ()

    def called(self, node: ast.Call) -> Iterable[ast.AST]:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if isinstance(node.func, ast.Attribute):
            end = self._end(node.func)
            if name in METHODS:
                self._add("method", node, (end - len(name), end), METHODS[name])
            if name in DROPPED:
                self._add("method", node, (self.source.rfind(b".", 0, end - len(name)), self._end(node)), "")
        elif name in {"min", "max", "any", "all"}:
            self._replace("method", node.func, METHODS[name])
        if name in {"lit", "fill_null", "is_in", "contains"}:
            for each in node.args:
                self._value(each)
        for keyword in node.keywords:
            self._option(keyword, name)
        args = () if name == "row" else node.args
        return [node.func, *args, *(each.value for each in node.keywords if each.arg not in _SAME_EITHER_WAY)]

    def _option(self, keyword: ast.keyword, method: str) -> None:
        word = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if other := OPTIONS.get(keyword.arg or "", {}).get(str(word)):
            self._replace("method", keyword.value, f'"{other}"')
        elif method == "filter":
            self._value(keyword.value)

    # --- how it is noted

    def _sql(self, node: ast.expr) -> None:
        text = self._text(node)
        for pattern, wrong in _WORDS.items() if _SQL.search(text) else ():
            for place in re.finditer(pattern, text):
                start = self._start(node) + len(text[: place.start()].encode())
                self._add("SQL", node, (start, start + len(place.group().encode())), wrong)

    def _condition(self, test: ast.expr) -> None:
        if not isinstance(test, (ast.Compare, ast.UnaryOp, ast.BoolOp)):
            self._replace("condition", test, f"(not ({self._text(test)}))")

    def _value(self, node: ast.expr) -> None:
        """A word that is compared or set, not a sentence."""
        for each in node.elts if isinstance(node, (ast.List, ast.Set, ast.Tuple)) else [node]:
            if _text(each) and not re.search(r"[ %(\\]", _text(each)):
                self._replace("value", each, '"?"')

    def _between(self, kind: str, left: ast.expr, right: ast.expr, wrong: str) -> None:
        """Another operator between two expressions, whatever brackets stand there."""
        start, end = self._end(left), self._start(right)
        gap = self.source[start:end].decode()
        place = re.search(r"[^\s()#]+(?: (?:in|not)\b)?", gap)
        if place and "#" not in gap:
            self._add(kind, left, (start + place.start(), start + place.end()), wrong, right)

    def _replace(self, kind: str, node: ast.AST, wrong: str) -> None:
        self._add(kind, node, (self._start(node), self._end(node)), wrong)

    def _add(self, kind: str, node: ast.AST, place: tuple[int, int], wrong: str, last: ast.AST | None = None) -> None:
        lines = (min(node.lineno, self.statement[0]), max((last or node).end_lineno, self.statement[1]))
        right = self.source[slice(*place)].decode()
        line = self.source.count(b"\n", 0, place[0]) + 1
        self.changes.append(Change(kind, line, lines, *place, right, wrong, at_import=self.depth == 0))

    def _start(self, node: ast.AST) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.AST) -> int:
        return self.starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.AST) -> str:
        return self.source[self._start(node) : self._end(node)].decode()


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


_RULES: dict[type[ast.AST], Callable[[_Finder, Any], Iterable[ast.AST] | None]] = {
    ast.FunctionDef: _Finder.function, ast.AnnAssign: _Finder.annotated, ast.Raise: _Finder.error,
    ast.Import: _Finder.nothing, ast.ImportFrom: _Finder.nothing, ast.Expr: _Finder.expression,
    ast.AugAssign: _Finder.augmented, ast.If: _Finder.branch, ast.IfExp: _Finder.chosen,
    ast.comprehension: _Finder.comprehension, ast.Compare: _Finder.compared, ast.BoolOp: _Finder.joined,
    ast.BinOp: _Finder.computed, ast.UnaryOp: _Finder.turned, ast.Constant: _Finder.constant,
    ast.JoinedStr: _Finder.formatted, ast.Call: _Finder.called,
}  # fmt: skip
