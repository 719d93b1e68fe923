"""Changes that nobody could notice, each looked at by hand. They are known by their text, so that other changes to a file keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mutants.operators import Mutant

#: Module, the line as it was (stripped), what stood there, what stands there instead → why nothing changes.
_REASONS: dict[tuple[str, str, str, str], str] = {
    (
        "hpcaccept/judge/questions/baseline.py",
        "if len(values) < 2 or not np.abs(values).max() < 1e150:",
        "np.abs(values).max() < 1e150",
        "(np.abs(values).max() <= 1e+150)",
    ): "the largest number that is squared may be this one or the next",
    (
        "hpcaccept/judge/revise/disturbed.py",
        'cost = _cost(record.facts.get(COMPANY_COST, "")) if fact == CONTENDED else 1.0',
        "1.0",
        "1.25",
    ): "nobody loses more than all of a rate",
    (
        "hpcaccept/judge/revise/disturbed.py",
        "break",
        "break",
        "pass",
    ): "reasons are kept by check or for all checks, never both at once",
    (
        "hpcaccept/judge/statistics/history_rule.py",
        "known = np.isfinite(center) & (center > 0)",
        "np.isfinite(center) & (center > 0)",
        "(center > 0)",
    ): "NaN is above nothing, and no median of finite values is infinite",
    (
        "hpcaccept/judge/statistics/run_noise.py",
        "while x < 6:",
        "6",
        "7",
    ): "the series is right to nine digits from 6 on",
    (
        "hpcaccept/judge/statistics/student_t.py",
        "while t_tail(high, df) > tail and high < 1e12:",
        "high < 1e12",
        "(high <= 1000000000000.0)",
    ): "the bound is a power of ten, and what is doubled from two is none",
    (
        "hpcaccept/judge/statistics/student_t.py",
        "if x < (a + 1) / (a + b + 2):",
        "a + 1",
        "(a)",
    ): "both fractions converge there, to the same number",
    (
        "hpcaccept/judge/statistics/trend_rule.py",
        "slopes = enough & (size > 0) & (beyond > _limits(df, z))",
        "beyond > _limits(df, z)",
        "(beyond >= _limits(df, z))",
    ): "a slope that lies exactly on its limit has no chance",
    (
        "hpcaccept/judge/statistics/trend_rule.py",
        "return np.maximum(shrunk / math.sqrt(1 - kept), 1e-9), df, kept",
        "1e-9",
        "1.25e-09",
    ): "it only keeps a width of nothing from being divided by",
    (
        "hpcaccept/store/gather.py",
        "columns: Any = list(zip(*rows, strict=True)) if rows else ((), (), (), (), ())",
        "True",
        "False",
    ): "every row has five parts",
}


def why_equivalent(mutant: Mutant) -> str:
    """The reason why a change is none; empty for any other."""
    return _REASONS.get((mutant.path, mutant.context, mutant.old, mutant.new), "")
