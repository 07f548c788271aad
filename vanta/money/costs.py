"""Costs: list prices, the maximum cost of a leg, and the purse that pays for a turn's legs.

Invariant: for the same request, no estimate and no real usage within `max_tokens` costs more than
`max_cost_usd`, if the prompt was counted exactly or within `MARGIN`. A price is found by the whole
name of a model, in any case and after a router's prefix, or not at all, and never derived from a
similar name; a private track is free unless the configuration sets a price. A leg on a track
without a price costs the ledger nothing; every other leg is reserved before its engine is called
and settled when it has ended, for whatever reason.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.context.estimate import estimate_extras, estimate_text
from vanta.context.usage_check import fewest_tokens
from vanta.engine import GenerationRequest, TokenCount
from vanta.errors import (
    BudgetExceeded,
    ConfigError,
    EngineError,
    ErrorKind,
    StoreError,
    describe,
)
from vanta.files import parse_toml, read_text
from vanta.installation import configs_dir
from vanta.messages import Completion, Usage
from vanta.money.amounts import Caps
from vanta.money.reservation import Reservation
from vanta.money.unpriced import listed_name
from vanta.track import Price, Track

if TYPE_CHECKING:
    from vanta.config import TrackConfig
    from vanta.money.ledger import Ledger

MARGIN = 1.25
"""The factor by which a prompt may exceed its estimate; see `vanta.context.estimate`."""

GRACE_S = 300.0
"""Seconds after the turn's deadline for which a leg's lease lasts."""

_log = logging.getLogger("vanta")
_MOST_BYTES = 1 << 24

_UNCERTAIN = frozenset({ErrorKind.NETWORK, ErrorKind.TIMEOUT})
"""Failures after which it is unknown whether the provider had started."""


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """A model's public price.

    :param price: the price in US dollars per million tokens.
    :param checked: the day on which it was compared with a published list.
    """

    price: Price
    checked: datetime.date


@dataclass(frozen=True, slots=True)
class TurnPurse:
    """Pays for the legs of one turn; see `vanta.scheduling.purse.Purse`.

    :param ledger: the ledger that pays.
    :param user: the user who pays.
    :param session: the session that pays.
    :param turn: the turn that pays.
    :param deadline_s: the turn's deadline in seconds.
    :param own_caps: caps of this turn beside those of the ledger; None for no others.
    """

    ledger: Ledger
    user: str
    session: str
    turn: str
    deadline_s: float
    own_caps: Caps | None = None

    @property
    def caps(self) -> Caps:
        """The caps that hold."""
        caps = self.ledger.caps
        return caps.within(self.own_caps) if self.own_caps else caps

    async def open_leg(self, track: Track, request: GenerationRequest) -> OpenLeg | None:
        """Reserve the maximum cost of a leg.

        :param track: the track of the leg.
        :param request: the request to send.
        :returns: the paid leg, or None for a track without a price.
        :raises EngineError: `budget` if a cap, a failing ledger or an unknown price forbids the
            leg, and errors of the engine's `count_tokens`.
        """
        if self.caps and not track.price.known:
            await self.ledger.unpriced.permit(track)
        if not (track.price.input_usd_per_mtok or track.price.output_usd_per_mtok):
            return None
        counted = await track.engine.count_tokens(request.messages)
        if self.caps:
            request = bounded(track, request)
        reservation = await self._reserve(track, max_cost_usd(track, request, counted))
        return OpenLeg(self.ledger, track, request, counted, reservation)

    async def _reserve(self, track: Track, usd: float) -> Reservation:
        try:
            return await self.ledger.reserve(
                user=self.user,
                session=self.session,
                turn=self.turn,
                track=track.name,
                usd=usd,
                lease_s=self.deadline_s + GRACE_S,
                caps=self.caps,
            )
        except BudgetExceeded as error:
            raise _budget_error(track, error.message, error.suggestion) from error
        except StoreError as error:
            raise _budget_error(track, f"the ledger cannot be read: {error}", "") from error
        except Exception as error:
            problem = f"the cost of the leg cannot be reserved: {describe(error)}"
            raise _budget_error(track, problem, "Check the track's price.") from error


@dataclass(frozen=True, slots=True)
class OpenLeg:
    """A paid leg. request: the request to send, its answer bounded if a cap is set."""

    ledger: Ledger
    track: Track
    request: GenerationRequest
    counted: TokenCount
    reservation: Reservation

    async def close(
        self, usage: Usage | None, seen: Completion, failure: EngineError | None
    ) -> Usage | None:
        """Settle the leg by the engine's usage, or by an estimate. Call it under a shield.

        :param usage: the usage that the engine reported, or None.
        :param seen: the answer so far.
        :param failure: the error that ended the leg, or None.
        :returns: the billed usage, or None if the engine never started.
        """
        try:
            billed = self._billed(usage, seen, failure)
            cost = self.track.price.of(billed)
            await self.ledger.settle(self.reservation, cost, exact=billed is None or billed.exact)
        except Exception:  # noqa: BLE001 - the answer is there; its money must not be lost
            _log.exception("a leg of track %r is settled at its reservation", self.track.name)
            await self.ledger.settle(self.reservation, self.reservation.usd, exact=False)
            most = max_input_tokens(self.request, self.counted)
            return Usage(most, output_limit(self.track, self.request), exact=False)
        return billed

    def _billed(
        self, usage: Usage | None, seen: Completion, failure: EngineError | None
    ) -> Usage | None:
        if usage is not None:
            return within_bounds(self.track, self.request, self.counted, usage, seen)
        if failure is not None and failure.kind not in _UNCERTAIN:
            return None
        return estimate_loser(self.track, self.request, self.counted, seen)


def output_limit(track: Track, request: GenerationRequest) -> int:
    """Return the token limit of the answer: the request's own, or the track's reply reserve."""
    max_tokens = request.sampling.max_tokens
    return track.reply_reserve if max_tokens is None else max_tokens


def bounded(track: Track, request: GenerationRequest) -> GenerationRequest:
    """Return the request with an explicit output limit, so that its cost is bounded."""
    limit = output_limit(track, request)
    sampling = dataclasses.replace(request.sampling, max_tokens=limit)
    return dataclasses.replace(request, sampling=sampling)


def max_input_tokens(request: GenerationRequest, counted: TokenCount) -> int:
    """Return the maximum size of a prompt in tokens.

    counted: the tokens of the request's messages. Tools, a schema and a prefix are added with a
    high estimate.
    """
    messages = counted.value if counted.exact else math.ceil(counted.value * MARGIN)
    return messages + estimate_extras(request)


def max_cost_usd(track: Track, request: GenerationRequest, counted: TokenCount) -> float:
    """Return the maximum cost of one leg with this request, in US dollars."""
    return track.price.of_tokens(max_input_tokens(request, counted), output_limit(track, request))


def estimate_loser(
    track: Track, request: GenerationRequest, counted: TokenCount, seen: Completion
) -> Usage:
    """Return the estimated usage of a leg that was cancelled before its provider reported any.

    seen: the answer so far, which is counted together with the prompt.
    """
    written = estimate_text(seen.text) + estimate_text(seen.reasoning)
    usage = Usage(counted.value, written, exact=False)
    return within_bounds(track, request, counted, usage, seen)


def within_bounds(
    track: Track, request: GenerationRequest, counted: TokenCount, usage: Usage, seen: Completion
) -> Usage:
    """Return an estimated usage cut to the request's bounds, and an exact one unchanged.

    seen: the answer so far. If it has certainly more tokens than were requested, the server has
    ignored the limit, and the estimate of what was seen is billed.
    """
    if usage.exact:
        return usage
    limit = output_limit(track, request)
    is_over = fewest_tokens(seen.text) + fewest_tokens(seen.reasoning) > limit
    return dataclasses.replace(
        usage,
        input_tokens=min(usage.input_tokens, max_input_tokens(request, counted)),
        output_tokens=usage.output_tokens if is_over else min(usage.output_tokens, limit),
    )


@functools.cache
def listed_prices() -> Mapping[str, ListedPrice]:
    """Return the price list that ships with vanta.

    :returns: model name to price.
    :raises ConfigError: if the file is broken.
    """
    path = configs_dir() / "prices.toml"
    try:
        tables: list[dict[str, Any]] = parse_toml(read_text(path, _MOST_BYTES))["prices"]
        return {model: _listed(table) for table in tables for model in table["models"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the price list {str(path)!r} cannot be read: {error!r}. Install vanta again."
        ) from error


def price_of(track: TrackConfig) -> Price | None:
    """Return the price of a track.

    :param track: the track's configuration; each of its two prices overrides the price list.
    :returns: the price, or None if it is unknown. If only one of its two parts is known, the other
        is 0 and the whole is marked as not known.
    :raises ConfigError: if the price list is broken.
    """
    own = (track.input_usd_per_mtok, track.output_usd_per_mtok)
    listed = None if track.private else listed_prices().get(listed_name(track.model))
    if own == (None, None):
        return listed.price if listed else Price() if track.private else None
    default = listed.price if listed else Price()
    return Price(
        default.input_usd_per_mtok if own[0] is None else own[0],
        default.output_usd_per_mtok if own[1] is None else own[1],
        known=listed is not None or None not in own or (track.private and 0.0 in own),
    )


def _listed(table: Mapping[str, Any]) -> ListedPrice:
    price = Price(float(table["input_usd_per_mtok"]), float(table["output_usd_per_mtok"]))
    return ListedPrice(price, table["checked"])


def _budget_error(track: Track, message: str, suggestion: str) -> EngineError:
    return track.error(ErrorKind.BUDGET, message, suggestion)
