"""Builds a query by asking questions: with questionary in a terminal where it is installed, by plain lines everywhere else."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hpcaccept.errors import UsageError
from hpcaccept.provider.vast.query import parse_query

if TYPE_CHECKING:
    from collections.abc import Callable


class Prompt(Protocol):
    """Asks one question; an empty answer means the default."""

    def __call__(self, question: str, default: str, valid: Callable[[str], str]) -> str:
        """The answer.

        Args:
            question: text.
            default: what an empty answer means.
            valid: gives what is wrong with an answer; empty: nothing.
        """
        ...


@dataclass(frozen=True)
class Question:
    """One of them.

    Attributes:
        text: of it.
        form: the comparison that an answer gives; ``{}`` stands for the answer.
        default: answer; empty: no comparison.
        hint: what may be answered.
    """

    text: str
    form: str
    default: str = ""
    hint: str = ""


QUESTIONS = (
    Question("GPU model", "gpu_name={}", hint="RTX_4090, several as [RTX_4090,RTX_5090]; empty: any"),
    Question("GPUs at least", "num_gpus>={}", hint="a number; empty: any"),
    Question("Memory of one GPU, GB at least", "gpu_ram>={}", hint="24; empty: any"),
    Question("CUDA at least", "cuda_vers>={}", "12.4", "any: no matter"),
    Question("Verified by Vast.ai", "verified={}", "true", "true, false or any"),
    Question("Reliability at least", "reliability>={}", "0.95", "0 to 1"),
    Question("Download, Mb/s at least", "inet_down>={}", hint="100; empty: any"),
    Question("Direct ports at least", "direct_port_count>={}", hint="4; empty: any"),
    Question("Countries", "geolocation in [{}]", hint="SE,NO,DE; empty: any"),
    Question("USD per hour at most", "dph<={}", hint="1.50; empty: any"),
)
PREMIUM = Question("Premium over the cheapest, % at most", "{}", hint="10; empty: any price")


def comparison(question: Question, answer: str) -> str:
    """What an answer adds to the query; empty: nothing."""
    answer = answer.strip()
    if not answer or (answer == "any" and not question.form.startswith("verified")):
        return ""
    form = question.form.replace("={}", " in {}") if answer.startswith("[") else question.form
    return form.format(answer.strip("[]") if "[{}]" in form else answer)


def wrong_with(question: Question, answer: str) -> str:
    """Why an answer cannot be taken; empty: it can."""
    try:
        text = comparison(question, answer)
        parse_query(text)
    except UsageError as fault:
        return fault.message
    # An answer that says more than one thing would slip in another filter.
    return "" if len(parse_query(text, {})) <= 1 else "One value, please."


def wrong_premium(answer: str) -> str:
    """Why an answer is no share in percent."""
    try:
        return "" if not answer.strip() or 0 <= float(answer) <= 10_000 else "A number from 0 on, please."
    except ValueError:
        return "A number, please."


def build(prompt: Prompt) -> tuple[str, float | None]:
    """The query that the answers give, and the premium as a share; None: any price."""
    parts = []
    for question in QUESTIONS:
        shown = f"{question.text} ({question.hint})" if question.hint else question.text
        answer = prompt(shown, question.default, lambda text, of=question: wrong_with(of, text))  # type: ignore[misc]
        parts.append(comparison(question, answer))
    premium = prompt(f"{PREMIUM.text} ({PREMIUM.hint})", "", wrong_premium).strip()
    return " ".join(filter(None, parts)), float(premium) / 100 if premium else None


def prompt_of_this_terminal(say: Callable[[str], None]) -> Prompt:
    """Questionary in a terminal where it is installed; lines of standard input otherwise."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            import questionary
        except ImportError:
            pass
        else:
            return _by_questionary(questionary)
    return by_lines(sys.stdin.readline, say)


def by_lines(read: Callable[[], str], say: Callable[[str], None]) -> Prompt:
    """Questions in lines, answers from lines; the end of the input takes the defaults of what is left."""

    def ask(question: str, default: str, valid: Callable[[str], str]) -> str:
        while True:
            say(f"{question}{f' [{default}]' if default else ''}:")
            line = read()
            answer = line.strip() or default
            if not (wrong := valid(answer)):
                return answer
            if not line:
                raise UsageError(wrong)
            say(wrong)

    return ask


def _by_questionary(questionary: Any) -> Prompt:
    def ask(question: str, default: str, valid: Callable[[str], str]) -> str:
        answer = questionary.text(question, default=default, validate=lambda text: valid(text) or True).ask()
        if answer is None:
            raise KeyboardInterrupt
        return str(answer)

    return ask
