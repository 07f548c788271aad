"""From the protocol to the desk: the SDK's server with our handlers, over stdio and HTTP.

Invariants: over HTTP only this machine is served, a page of a browser is refused, and if there is a
token every request must carry it. What goes wrong inside is reported to the client
in one sentence, without a traceback.
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, Any

import anyio

from vanta import ToolResult, UsageError, VantaError, is_loopback
from vanta_mcp.client.connection import quieten
from vanta_mcp.server.desk import ServerDesk
from vanta_mcp.server.work import Answer, ServerQuestion, WaitingRoom, Work, finished, result_of

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.lowlevel import Server

QUESTION = "question"
SHUTDOWN_S = 3.0
_log = logging.getLogger("vanta.mcp")


class ProtocolHandlers:
    """Answers the requests of clients.

    :param desk: what they may call.
    :param room: the calls that wait for an answer.
    """

    def __init__(self, desk: ServerDesk, room: WaitingRoom) -> None:
        self._desk = desk
        self._room = room

    async def list_tools(self, _context: Any, _params: Any) -> types.ListToolsResult:
        """Return all tools on one page."""
        import mcp_types as types

        tools = [
            types.Tool(
                name=tool.name,
                description=tool.description,
                input_schema=dict(tool.parameters),
                annotations=types.ToolAnnotations(
                    read_only_hint=tool.effect == "read",
                    idempotent_hint=tool.effect != "write",
                ),
            )
            for tool in await self._desk.tools()
        ]
        return types.ListToolsResult(tools=tools, ttl_ms=0)  # toolsets may change at any time

    async def call_tool(
        self, context: Any, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Run a call, or continue one with the answer of a person."""
        try:
            return await self._called(context, params)
        except VantaError as error:
            return _result(ToolResult(str(error), is_error=True))
        except Exception:  # noqa: BLE001 - the client is told one sentence, the log the rest
            _log.exception("a call of an MCP client failed")
            return _result(ToolResult("The call failed inside vanta.", is_error=True))

    async def _called(
        self, context: Any, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        work = self._work(context, params)
        if work is None:
            return _result(ToolResult("This call does not wait for an answer.", is_error=True))
        if not _is_modern(context):
            return _result(await finished(work, lambda question: _elicit(context, question)))
        try:
            question = await work.news()
        except BaseException:
            work.scope.cancel()
            raise
        if question is None:
            return _result(result_of(work))
        return self._question(work, question)

    def _work(self, context: Any, params: types.CallToolRequestParams) -> Work | None:
        """Return the call that a request begins or continues."""
        if params.request_state is not None:
            work = self._room.take(params.request_state)
            if work is not None and work.question is not None:
                question, work.question = work.question, None
                question.settle(_given((params.input_responses or {}).get(QUESTION)))
            return work
        can_ask = _can_ask(context)
        return self._room.begin(
            lambda ask: self._desk.call(
                params.name, params.arguments or {}, ask if can_ask else None
            )
        )

    def _question(self, work: Work, question: ServerQuestion) -> types.InputRequiredResult:
        import mcp_types as types

        request = types.ElicitRequest(
            params=types.ElicitRequestFormParams(
                message=question.message, requested_schema=dict(question.schema)
            )
        )
        return types.InputRequiredResult(
            input_requests={QUESTION: request}, request_state=self._room.keep(work)
        )


def sdk_server(handlers: ProtocolHandlers) -> Server[Any]:
    """Return the SDK's server with our handlers.

    :param handlers: what answers.
    """
    from mcp.server.lowlevel import Server

    quieten()
    return Server(
        "vanta",
        version="1",
        instructions="The user's assistant, with their tools and memory. Some calls ask the user.",
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
    )


async def serve_stdio(desk: ServerDesk) -> None:
    """Serve the program that started this one, until it closes stdin.

    :param desk: what it may call.
    """
    from mcp.server.stdio import stdio_server

    async with anyio.create_task_group() as tasks:
        server = sdk_server(ProtocolHandlers(desk, WaitingRoom(tasks)))
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def serve_http(
    desk: ServerDesk, host: str, port: int, *, token: str = "", started: Any = None
) -> None:
    """Serve clients on this machine over HTTP, until cancelled.

    :param desk: what they may call.
    :param host: a loopback address.
    :param port: the port; 0 for a free one.
    :param token: what every request must carry as a bearer token; "" for none.
    :param started: called with the URL once it is served.
    :raises UsageError: if the host is not of this machine, or the port is taken.
    """
    import uvicorn

    if not is_loopback(host) or host in {"0.0.0.0", "::"}:  # noqa: S104 - refused here
        raise UsageError(f"{host!r} is not an address of this machine alone. Use 127.0.0.1.")
    async with anyio.create_task_group() as tasks:
        server = sdk_server(ProtocolHandlers(desk, WaitingRoom(tasks)))
        app = _with_token(server.streamable_http_app(host=host), token)
        config = uvicorn.Config(app, host=host, port=port, log_level="critical", lifespan="on")
        web = uvicorn.Server(config)
        try:
            tasks.start_soon(_announce, web, started)
            await web.serve()
        except SystemExit as error:
            raise UsageError(f"port {port} of {host} cannot be used. Choose another.") from error
        finally:
            if web.started:  # uvicorn leaves its sockets open if it is cancelled
                with anyio.move_on_after(SHUTDOWN_S, shield=True):
                    await web.shutdown()
        tasks.cancel_scope.cancel()


async def _announce(web: Any, started: Any) -> None:
    while not web.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await anyio.sleep(0.01)
    address, port = web.servers[0].sockets[0].getsockname()[:2]
    if started is not None:
        name = f"[{address}]" if ":" in address else address
        started(f"http://{name}:{port}/mcp")


def _with_token(app: Any, token: str) -> Any:
    """Return an ASGI application that refuses requests without the token, if there is one."""
    if not token:
        return app
    wanted = f"Bearer {token}".encode()

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope.get("headers") or ()).get(b"authorization", b"")
        if scope["type"] == "http" and not hmac.compare_digest(given, wanted):
            headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b"A token is needed.\n"})
        else:
            await app(scope, receive, send)

    return guarded


def _is_modern(context: Any) -> bool:
    from mcp_types.version import MODERN_PROTOCOL_VERSIONS

    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


def _can_ask(context: Any) -> bool:
    declared = context.session.client_capabilities
    return declared is not None and declared.elicitation is not None


async def _elicit(context: Any, question: ServerQuestion) -> Answer:
    found = await context.session.elicit_form(
        question.message, dict(question.schema), related_request_id=context.request_id
    )
    return _given(found)


def _given(response: Any) -> Answer:
    """Return what a person entered; None if they declined."""
    if response is None or getattr(response, "action", "") != "accept":
        return None
    return dict(response.content or {})


def _result(result: ToolResult) -> types.CallToolResult:
    import mcp_types as types

    text = types.TextContent(text=result.text)
    images = [
        types.ImageContent(data=image.url.partition(",")[2], mime_type=image.media_type)
        for image in result.images
    ]
    return types.CallToolResult(content=[text, *images], is_error=result.is_error)
