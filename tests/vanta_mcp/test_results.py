"""Results of servers with images: shown where they are images, named where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mcp_types as types

from tests.pictures import picture
from tests.vanta_mcp.servers import fake
from vanta_mcp.client.results import MOST_IMAGES, result_of_call
from vanta_mcp.settings import Server

CAT = picture()


def image_block(data: str) -> types.ImageContent:
    return types.ImageContent(data=data, mime_type="image/png")


def result_with(*blocks: Any) -> Any:
    server = Server("made", fake(), Path("data"), Path())
    return result_of_call(types.CallToolResult(content=list(blocks)), server)


def test_images_of_a_result_are_images_and_other_blocks_are_text() -> None:
    good = image_block(CAT.url.partition(",")[2])
    result = result_with(types.TextContent(text="Here:"), good, image_block("PHN2Zz4="))
    assert result.images == (CAT,)
    assert result.text == "Here:\n[image of type image/png, 6 bytes, not shown]"


def test_a_result_shows_a_bounded_number_of_images() -> None:
    good = image_block(CAT.url.partition(",")[2])
    result = result_with(*[good] * (MOST_IMAGES + 2))
    assert len(result.images) == MOST_IMAGES
    assert result.text.count("not shown") == 2
