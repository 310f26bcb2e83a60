"""A web application whose workers keep the data themselves: each process embeds one Flo node.

README.md next to this file says how to run three workers.
"""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import cluster
from flo import ConflictError, FloClient, FloError, PutOptions

READY_TIMEOUT_S = 1.0


def node_config(environment: Mapping[str, str]) -> cluster.NodeConfig:
    """The node of this worker, from the variables that `flo node` reads too."""
    secret_file = environment.get("FLO_SECRET_FILE")
    return cluster.NodeConfig(
        environment.get("FLO_DATA_DIR", "flo-data"),
        node_id=int(environment.get("FLO_NODE_ID", "1")),
        listen=environment.get("FLO_LISTEN", "127.0.0.1:9000"),
        members=environment.get("FLO_CLUSTER", ""),
        secret=Path(secret_file).read_bytes().strip() if secret_file else None,
    )


def create_app(config: cluster.NodeConfig | None = None) -> Starlette:
    """The application; the server calls it once in each worker."""
    node_settings = config or node_config(os.environ)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with cluster.Node(node_settings) as node:
            app.state.node = node
            yield

    routes = [
        Route("/visits/{page}", count_visit, methods=["POST"]),
        Route("/profiles/{name}", read_profile, methods=["GET"]),
        Route("/profiles/{name}", write_profile, methods=["PUT"]),
        Route("/health", health, methods=["GET"]),
    ]
    handlers = {FloError: unavailable}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


async def count_visit(request: Request) -> JSONResponse:
    """Counts exactly once, whichever worker is asked and whichever leads."""
    page = request.path_params["page"]
    counter = await client_of(request, "visits").kv.incr(page)
    return JSONResponse({"page": page, "visits": counter.value})


async def read_profile(request: Request) -> JSONResponse:
    """A profile, and in ETag the version that a change must name."""
    found = await client_of(request, "profiles").kv.get(request.path_params["name"])
    if found is None:
        raise HTTPException(404, "no such profile")
    return JSONResponse({"text": found.value.decode()}, headers={"ETag": f'"{found.version}"'})


async def write_profile(request: Request) -> JSONResponse:
    """Stores a profile if nobody has changed it since the version in If-Match was read.

    Without If-Match it must be new.
    """
    version = _version(request.headers.get("If-Match"))
    text = (await request.body()).decode(errors="replace")
    profiles = client_of(request, "profiles").kv
    try:
        stored = await profiles.put(
            request.path_params["name"], text.encode(), PutOptions(cas_version=version)
        )
    except ConflictError as error:
        raise HTTPException(412, "somebody else has changed it: read it again") from error
    return JSONResponse({"text": text}, headers={"ETag": f'"{stored.version}"'})


async def health(request: Request) -> JSONResponse:
    """200 when this worker can read and write everything; else 503 with the reason.

    After a NodeFailedError only a new process helps: let whatever watches the workers restart it.
    """
    try:
        await node_of(request).ready(READY_TIMEOUT_S)
    except (TimeoutError, cluster.NodeFailedError) as error:
        return JSONResponse({"ready": False, "why": str(error)}, status_code=503)
    return JSONResponse({"ready": True})


async def unavailable(_request: Request, error: Exception) -> JSONResponse:
    """Most of the nodes are away, or this one is overloaded."""
    return JSONResponse({"error": str(error)}, status_code=503)


def node_of(request: Request) -> cluster.Node:
    node = request.app.state.node
    assert isinstance(node, cluster.Node)
    return node


def client_of(request: Request, namespace: str) -> FloClient:
    return node_of(request).client(namespace)


def _version(etag: str | None) -> int:
    """The version in an If-Match header; 0, which means "must not exist", without one."""
    if etag is None:
        return 0
    number = etag.strip('"')
    if not number.isdecimal():
        raise HTTPException(400, "If-Match must be the ETag of the profile")
    return int(number)
