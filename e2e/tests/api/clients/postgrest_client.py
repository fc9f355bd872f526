"""Python's postgrest against /rest/v1, its synchronous and its asynchronous client."""

import asyncio
import os

from postgrest import APIError, AsyncPostgrestClient, CountMethod, ReturnMethod, SyncPostgrestClient

URL = os.environ["TENANTRY_URL"] + "/rest/v1"
APP, KEY, SALES = os.environ["APP"], os.environ["KEY"], os.environ["SALES"]
HEADERS = {"Authorization": f"Bearer {SALES}", "apikey": KEY}


def refused(request, code):
    try:
        answer = request.execute()
    except APIError as error:
        assert error.code == code, error
        return error
    raise AssertionError(f"not refused: {answer}")


def synchronous():
    db = SyncPostgrestClient(URL, schema=APP, headers=HEADERS)
    customers = lambda: db.from_("customers")
    rows = [{"name": "Acme", "email": "acme@example.com", "rank": 1, "meta": {"city": "Rome"}}, {"name": "Globex", "rank": 2}]
    stored = customers().insert(rows, count=CountMethod.exact).execute()
    assert (stored.count, [row["name"] for row in stored.data]) == (2, ["Acme", "Globex"]), stored
    assert customers().insert({"name": "Quiet", "rank": 9}, returning=ReturnMethod.minimal).execute().data == []
    names = lambda request: [row["name"] for row in request.order("name").execute().data]
    every = lambda: customers().select("name")
    assert names(every().eq("rank", 1)) == ["Acme"]
    assert names(every().neq("rank", 1)) == ["Globex", "Quiet"]
    assert names(every().in_("name", ["Acme", "Quiet"])) == ["Acme", "Quiet"]
    assert names(every().not_.is_("email", "null")) == ["Acme"]
    assert names(every().ilike("name", "%q%")) == ["Quiet"]
    assert names(every().or_("rank.eq.1,rank.eq.9")) == ["Acme", "Quiet"]
    assert names(every().contains("meta", {"city": "Rome"})) == ["Acme"]
    assert names(every().match({"name": "Acme", "rank": 1})) == ["Acme"]
    page = customers().select("name", count=CountMethod.exact).order("rank", desc=True).range(0, 0).execute()
    assert (page.count, page.data) == (3, [{"name": "Quiet"}]), page
    assert customers().select("*", count=CountMethod.exact, head=True).execute().count == 3
    one = customers().select("id,name").eq("rank", 1).single().execute().data
    assert one["name"] == "Acme"
    assert customers().select("name").eq("rank", 77).maybe_single().execute() is None
    db.from_("contacts").insert({"customer": one["id"], "phone": "1"}).execute()
    embedded = customers().select("name,contacts(phone)").eq("rank", 1).single().execute().data
    assert embedded == {"name": "Acme", "contacts": [{"phone": "1"}]}, embedded
    assert db.from_("contacts").select("customer(name)").execute().data == [{"customer": {"name": "Acme"}}]
    assert customers().select("name,rank").order("rank").limit(1).csv().execute().data == "name,rank\nAcme,1\n"
    merged = customers().upsert({"name": "Acme Ltd", "email": "acme@example.com"}, on_conflict="email").execute().data
    assert (merged[0]["name"], merged[0]["rank"], merged[0]["version"]) == ("Acme Ltd", 1, 2), merged
    assert customers().update({"rank": 3}).eq("name", "Globex").execute().data[0]["rank"] == 3
    refused(customers().update({"color": "red"}).eq("rank", 1), "23514")
    refused(customers().select("color"), "PGRST100")
    refused(customers().select("name").single(), "PGRST116")
    refused(customers().insert({"name": "x", "email": "acme@example.com"}), "23505")
    assert [row["name"] for row in customers().delete().eq("name", "Quiet").execute().data] == ["Quiet"]


async def asynchronous():
    async with AsyncPostgrestClient(URL, schema=APP, headers=HEADERS) as db:
        answer = await db.from_("customers").select("name").order("rank").execute()
        assert [row["name"] for row in answer.data] == ["Acme Ltd", "Globex"], answer


synchronous()
asyncio.run(asynchronous())
print("ok")
