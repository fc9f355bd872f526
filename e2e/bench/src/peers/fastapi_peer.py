"""The same rows served by FastAPI and asyncpg: prepared statements, one round trip for each request, JSON made by PostgreSQL.

No token is checked, no permission, nothing is validated beyond the body's shape; an insert writes its row and nothing else.
"""

import os
import re
import time
import uuid
from contextlib import asynccontextmanager
from decimal import Decimal

import asyncpg
from fastapi import FastAPI, Header, HTTPException, Response
from pydantic import BaseModel

TENANT = re.compile(r"[a-z][a-z0-9-]*")
COLUMNS = (
    "json_build_object('id', id, 'name', name, 'email', email, 'status', status, 'credit', credit::text, "
    "'version', version, 'created_at', created_at)"
)


@asynccontextmanager
async def lifespan(service: FastAPI):
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=8, max_size=8, statement_cache_size=4096
    ) as pool:
        service.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


class Customer(BaseModel):
    name: str
    status: str = "lead"
    credit: Decimal | None = None


def table(tenant: str) -> str:
    if not TENANT.fullmatch(tenant):
        raise HTTPException(400)
    return f'"tenant_{tenant.replace("-", "_")}".crm_customer'


def json(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="application/json")


def ordered_id() -> uuid.UUID:
    """Version 7, as ours: newer ones sort after older ones, and new rows are next to each other in the index."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | (random >> 4 & 0xFFF) << 64 | 2 << 62 | random >> 16 & (1 << 62) - 1)


@app.get("/customers/{customer}")
async def by_id(customer: uuid.UUID, x_tenant: str = Header()):
    row = await app.state.pool.fetchval(f"SELECT ({COLUMNS})::text FROM {table(x_tenant)} WHERE id = $1", customer)
    if row is None:
        raise HTTPException(404)
    return json(row)


@app.get("/customers")
async def newest(status: str, x_tenant: str = Header()):
    rows = await app.state.pool.fetchval(
        f"SELECT coalesce(json_agg({COLUMNS}), '[]')::text FROM "
        f"(SELECT id, name, email, status, credit, version, created_at FROM {table(x_tenant)} "
        "WHERE status = $1 ORDER BY id DESC LIMIT 20) rows",
        status,
    )
    return json(rows)


@app.post("/customers")
async def insert(body: Customer, x_tenant: str = Header()):
    row = await app.state.pool.fetchval(
        f"INSERT INTO {table(x_tenant)} (id, name, status, credit, created_by, updated_by) "
        f"VALUES ($1, $2, $3, $4, 'bench', 'bench') RETURNING ({COLUMNS})::text",
        ordered_id(),
        body.name,
        body.status,
        body.credit,
    )
    return json(row, 201)
