"""The toolset `weather`: where a place is, and what the weather will be there.

Invariant: a call sends one request to the configured server, follows no redirect, and reads at most
`MAX_BYTES` of its answer. Whatever the server does is a result or a `vanta.ToolError`.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

import vanta

MAX_BYTES = 1_000_000
TIMEOUT_S = 8.0


class WeatherOptions(BaseModel):
    """`tools.options.weather`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    places_url: str = Field(
        default="https://geocoding-api.open-meteo.com/v1/search",
        description="Where places are looked up.",
    )
    forecast_url: str = Field(
        default="https://api.open-meteo.com/v1/forecast", description="Where forecasts come from."
    )
    unit: Literal["celsius", "fahrenheit"] = Field(
        default="celsius", description="The unit of temperatures."
    )


class Place(BaseModel):
    """A place with its coordinates."""

    name: str
    country: str = ""
    latitude: float
    longitude: float


def create(options: WeatherOptions, _context: vanta.ToolsetContext) -> vanta.Toolset:
    """Build the toolset. It keeps nothing, so it has nothing to close."""

    @vanta.tool(effect="read", untrusted=True, timeout_s=10)
    def find_place(name: str, limit: Annotated[int, Field(ge=1, le=10)] = 3) -> list[Place]:
        """Find the coordinates of a place by its name.

        :param name: the name of a city or a village, such as "Oslo".
        :param limit: the number of matches to return.
        """
        found = _get(options.places_url, {"name": name, "count": limit}).get("results") or []
        if not found:
            raise vanta.ToolError(f"no place is named {name!r}. Try another spelling.")
        return [Place.model_validate(item) for item in found[:limit]]

    @vanta.tool(effect="read", untrusted=True, timeout_s=10)
    def forecast(
        latitude: Annotated[float, Field(ge=-90, le=90)],
        longitude: Annotated[float, Field(ge=-180, le=180)],
        days: Annotated[int, Field(ge=1, le=14)] = 3,
    ) -> dict[str, Any]:
        """Return the weather forecast for coordinates, one entry for each day.

        :param latitude: degrees north, as `find_place` returns them.
        :param longitude: degrees east.
        :param days: the number of days, today included.
        """
        query = {
            "latitude": latitude,
            "longitude": longitude,
            "forecast_days": days,
            "temperature_unit": options.unit,
            "daily": "temperature_2m_max,temperature_2m_min,precipitation_sum",
        }
        return {"unit": options.unit, "daily": _get(options.forecast_url, query).get("daily", {})}

    return vanta.FunctionToolset("weather", [find_place, forecast])


def _get(url: str, query: dict[str, Any]) -> dict[str, Any]:
    """Fetch a JSON object. Raises ToolError with what the model can do about a failure."""
    address = f"{url}?{urllib.parse.urlencode(query)}"
    if not address.startswith(("https://", "http://")):
        raise vanta.ToolError(
            f"{url!r} is not the URL of a server: set it in tools.options.weather"
        )
    try:
        with _OPENER.open(address, timeout=TIMEOUT_S) as answer:
            text = answer.read(MAX_BYTES + 1)
        value = json.loads(text) if len(text) <= MAX_BYTES else None
    except urllib.error.HTTPError as error:
        error.close()
        raise vanta.ToolError(f"the weather server answered with status {error.code}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise vanta.ToolError(f"the weather server cannot be used: {reason}") from error
    if not isinstance(value, dict):
        raise vanta.ToolError("the weather server did not answer with a JSON object of a fair size")
    return value


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are errors: another server would see where the user is."""

    def redirect_request(self, *_args: Any, **_fields: Any) -> None:
        """Refuse."""


_OPENER = urllib.request.build_opener(_NoRedirects)

FACTORY = vanta.ToolsetFactory(
    name="weather",
    summary="finds places and reads their weather forecast",
    options=WeatherOptions,
    create=create,
)
