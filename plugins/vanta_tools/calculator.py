"""The toolset `calculator`: arithmetic in decimal numbers.

simpleeval walks the expression's syntax tree, without `eval`; every kind of node, operator and
function that it may use is named here. Invariant: a result has at most `DIGITS` digits and an
exponent of `MAX_EXPONENT`, and no step of a calculation takes longer than one on such numbers.
Decimal numbers are used because 0.1 + 0.2 must be 0.3.
"""

from __future__ import annotations

import ast
import decimal
import math
import re
import statistics
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from pydantic import Field

from vanta import ToolContext, ToolResult, ToolsetContext, did_you_mean
from vanta_tools.actions import ActionToolset, CorrectableError, ToolArguments, ToolOptions, action

if TYPE_CHECKING:
    from simpleeval import SimpleEval

DIGITS = 60
SHOWN_DIGITS = 30
"""Digits of a number that is not whole, as the result shows it."""

MAX_EXPONENT = 9_999
MAX_CHARACTERS = 2_000
MAX_WHOLE = 2_000
"""Greatest argument of functions that count, such as `factorial`."""

_CONTEXT = decimal.Context(
    prec=DIGITS,
    Emax=MAX_EXPONENT,
    Emin=-MAX_EXPONENT,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)
_SHORTER = decimal.Context(prec=SHOWN_DIGITS, Emax=MAX_EXPONENT, Emin=-MAX_EXPONENT)
_SYMBOLS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})  # noqa: RUF001
_NUMBER = re.compile(
    r"[0-9][0-9_]*(\.[0-9_]*)?([eE][+-]?[0-9]{1,5})?|\.[0-9]+([eE][+-]?[0-9]{1,5})?"
)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
_E = Decimal("2.71828182845904523536028747135266249775724709369995957496697")


class CalculatorOptions(ToolOptions):
    """Options of the toolset `calculator`; it has none."""


class CalculateArguments(ToolArguments):
    """Arguments of `calculate`."""

    expression: str = Field(
        min_length=1,
        max_length=MAX_CHARACTERS,
        description=(
            "Such as (2.5 + 3) * 4 ** 2 or sqrt(2). Operators: + - * / // % **. Functions: abs, "
            "ceil, comb, cos, degrees, exp, factorial, floor, gcd, lcm, ln, log, log10, max, mean, "
            "median, min, perm, radians, round, sin, sqrt, sum, tan and others. Names: e, pi, tau."
        ),
    )


class CalculatorToolset(ActionToolset):
    """Evaluates arithmetic expressions."""

    def __init__(self) -> None:
        calculate = action(
            "calculate",
            "Calculate the value of an arithmetic expression.",
            CalculateArguments,
            self._calculate,
            effect="read",
            private=True,
            timeout_s=5.0,
        )
        super().__init__("calculator", [calculate])

    async def _calculate(self, arguments: CalculateArguments, _context: ToolContext) -> ToolResult:
        value = await anyio.to_thread.run_sync(calculate, arguments.expression)
        return ToolResult(value, data={"value": value})


def create_calculator(_options: CalculatorOptions, _context: ToolsetContext) -> CalculatorToolset:
    """Return the toolset for a runtime."""
    return CalculatorToolset()


def calculate(expression: str) -> str:
    """Return the value of an arithmetic expression, as a decimal number.

    :param expression: the expression; `^` is a power, as on calculators.
    :raises CorrectableError: if it is not one, has no value, or a value that is too large.
    """
    text = expression.strip().removesuffix("=").strip().translate(_SYMBOLS).replace("^", "**")
    try:
        with decimal.localcontext(_CONTEXT):
            return _shown(_evaluated(text))
    except decimal.Overflow as error:
        raise CorrectableError(f"A number is larger than 1e{MAX_EXPONENT}.") from error
    except (decimal.DivisionByZero, ZeroDivisionError) as error:
        raise CorrectableError("It divides by zero.") from error
    except (ArithmeticError, ValueError, TypeError) as error:
        reason = "" if isinstance(error, ArithmeticError) else f" ({error})"
        raise CorrectableError(
            f"{expression[:80]!r} has no value as a real number{reason}."
        ) from error
    except (RecursionError, MemoryError) as error:
        raise CorrectableError("The expression is nested too deeply.") from error


def _evaluated(text: str) -> Decimal:
    import simpleeval

    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise CorrectableError(
            f"{text[:80]!r} is not an arithmetic expression: {error.msg}."
        ) from error
    evaluator = simpleeval.SimpleEval(_OPERATORS, dict(_FUNCTIONS), dict(_NAMES), allowed_attrs={})
    evaluator.nodes = _nodes(evaluator, text)
    try:
        value = evaluator.eval(text, previously_parsed=tree.body)
    except simpleeval.FunctionNotDefined as error:
        hint = did_you_mean(error.func_name, _FUNCTIONS)
        raise CorrectableError(f"There is no function {error.func_name!r}. {hint}") from error
    except simpleeval.NameNotDefined as error:
        raise CorrectableError(
            f"There is no name {error.name!r}. {did_you_mean(error.name, _NAMES)}"
        ) from error
    except simpleeval.InvalidExpression as error:
        raise CorrectableError(
            f"{text[:80]!r} is not arithmetic: only numbers, operators and functions are."
        ) from error
    return +_decimal(value)


def _nodes(evaluator: SimpleEval, text: str) -> dict[type[ast.AST], Callable[[Any], Any]]:
    """Return the only kinds of nodes that an expression may have."""
    usual = evaluator.nodes
    allowed = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Name)
    return {
        **{kind: usual[kind] for kind in allowed},
        ast.Constant: partial(_constant, text),
    }


def _constant(text: str, node: ast.Constant) -> Decimal:
    """Return a number as it is written: a float would have lost digits."""
    written = ast.get_source_segment(text, node) or ""
    if not _NUMBER.fullmatch(written):
        raise CorrectableError(f"{written[:40]!r} is not a decimal number.")
    return Decimal(written)


def _decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(value))
    raise CorrectableError("It has no value as a real number.")


def _shown(value: Decimal) -> str:
    """Return a number without an exponent, unless that would be long."""
    if value == 0:
        return "0"
    exact = value.normalize()
    if exact != exact.to_integral_value():
        exact = _SHORTER.plus(exact).normalize()
    if -20 <= exact.adjusted() < DIGITS:
        return f"{exact:f}"
    return str(exact)


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    return base**exponent


def _modulo(left: Decimal, right: Decimal) -> Decimal:
    """Return what is left of a division, with the sign of the divisor, as in Python."""
    rest = left % right
    return rest + right if rest and (rest < 0) != (right < 0) else rest


def _floor_division(left: Decimal, right: Decimal) -> Decimal:
    return (left - _modulo(left, right)) / right


def _whole(value: Decimal, most: int | None = MAX_WHOLE) -> int:
    if value != value.to_integral_value():
        raise CorrectableError(f"{_shown(value)} is not a whole number.")
    if most is not None and abs(value) > most:
        raise CorrectableError(f"{_shown(value)} is larger than {most}.")
    return int(value)


def _counted(function: Callable[..., int]) -> Callable[..., Decimal]:
    """Return a function of small whole numbers."""
    return lambda *values: Decimal(function(*map(_whole, values)))


def _divided(function: Callable[..., int]) -> Callable[..., Decimal]:
    """Return a function of whole numbers as long as numbers may be."""
    return lambda *values: Decimal(function(*(_whole(value, most=10**DIGITS) for value in values)))


def _approximate(function: Callable[..., float]) -> Callable[..., Decimal]:
    """Return a function of floating point numbers: right to about 15 digits."""

    def approximated(*values: Decimal) -> Decimal:
        # One digit less than a float has: sin(pi) is then 0, as a person expects.
        return _decimal(round(function(*map(float, values)), 15))

    return approximated


def _log(value: Decimal, base: Decimal | None = None) -> Decimal:
    return value.ln() if base is None else value.log10() / base.log10()


def _round(value: Decimal, digits: Decimal = Decimal(0)) -> Decimal:
    """Return a number rounded to places after the point; halves away from zero, as at school."""
    place = Decimal(1).scaleb(-_whole(digits, most=DIGITS))
    return value.quantize(place, rounding=decimal.ROUND_HALF_UP)


def _integral(rounding: str) -> Callable[[Decimal], Decimal]:
    return lambda value: value.to_integral_value(rounding=rounding)


_OPERATORS: dict[type[ast.AST], Callable[..., Decimal]] = {
    ast.Add: Decimal.__add__,
    ast.Sub: Decimal.__sub__,
    ast.Mult: Decimal.__mul__,
    ast.Div: Decimal.__truediv__,
    ast.FloorDiv: _floor_division,
    ast.Mod: _modulo,
    ast.Pow: _power,
    ast.USub: Decimal.__neg__,
    ast.UAdd: Decimal.__pos__,
}

_FUNCTIONS: Mapping[str, Callable[..., Decimal]] = {
    "abs": abs,
    "acos": _approximate(math.acos),
    "asin": _approximate(math.asin),
    "atan": _approximate(math.atan),
    "atan2": _approximate(math.atan2),
    "cbrt": _approximate(math.cbrt),
    "ceil": _integral(decimal.ROUND_CEILING),
    "comb": _counted(math.comb),
    "cos": _approximate(math.cos),
    "cosh": _approximate(math.cosh),
    "degrees": lambda value: value * 180 / _PI,
    "exp": Decimal.exp,
    "factorial": _counted(math.factorial),
    "floor": _integral(decimal.ROUND_FLOOR),
    "gcd": _divided(math.gcd),
    "hypot": _approximate(math.hypot),
    "lcm": _divided(math.lcm),
    "ln": Decimal.ln,
    "log": _log,
    "log10": Decimal.log10,
    "log2": lambda value: _log(value, Decimal(2)),
    "max": lambda *values: max(values),
    "mean": lambda *values: sum(values, Decimal(0)) / len(values),
    "median": lambda *values: statistics.median(values),
    "min": lambda *values: min(values),
    "perm": _counted(math.perm),
    "pow": _power,
    "radians": lambda value: value * _PI / 180,
    "round": _round,
    "sin": _approximate(math.sin),
    "sinh": _approximate(math.sinh),
    "sqrt": Decimal.sqrt,
    "stdev": lambda *values: statistics.stdev(values),
    "sum": lambda *values: sum(values, Decimal(0)),
    "tan": _approximate(math.tan),
    "tanh": _approximate(math.tanh),
    "trunc": _integral(decimal.ROUND_DOWN),
}

_NAMES: Mapping[str, Decimal] = {"e": _E, "pi": _PI, "tau": 2 * _PI}
