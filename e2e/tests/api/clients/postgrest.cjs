// @supabase/postgrest-js against /rest/v1: every kind of request that the library makes.
const assert = require("node:assert/strict");
const { PostgrestClient } = require("@supabase/postgrest-js");

const { TENANTRY_URL, APP, KEY, SALES, CLERK } = process.env;
const client = (token, schema) =>
  new PostgrestClient(`${TENANTRY_URL}/rest/v1`, { headers: { Authorization: `Bearer ${token}`, apikey: KEY }, schema });
const db = client(SALES, APP);

const fine = (answer, status) => {
  assert.equal(answer.error, null, JSON.stringify(answer.error));
  if (status) assert.equal(answer.status, status, JSON.stringify(answer));
  return answer.data;
};
const refused = (answer, status, code) => {
  assert.ok(answer.error, JSON.stringify(answer));
  assert.deepEqual([answer.status, answer.error.code], [status, code], JSON.stringify(answer.error));
  for (const member of ["message", "details", "hint"]) assert.ok(member in answer.error, member);
  return answer.error;
};
const names = async (request) => fine(await request).map((row) => row.name);

const tests = {
  async inserts() {
    assert.equal(fine(await db.from("customers").insert({ name: "Plain", rank: 100 }), 201), null);
    const one = fine(await db.from("customers").insert({ name: "Acme", email: "acme@example.com", status: "active", credit: 12.5, rank: 1, vip: true, notes: "a fat cat sat", meta: { city: "Rome", tags: ["a", "b"], deep: [{ n: 1 }] } }).select().single(), 201);
    assert.equal(one.credit, 12.5);
    assert.deepEqual(one.meta.tags, ["a", "b"]);
    assert.ok(!("pin" in one));
    const rows = [
      { name: "Globex", email: "globex@example.com", status: "active", rank: 2, vip: false, meta: ["b", "c"] },
      { name: "Initech", email: "initech@example.com", rank: 3, credit: "7.25" },
    ];
    const two = fine(await db.from("customers").insert(rows, { count: "exact", defaultToNull: false }).select("name,status"), 201);
    assert.deepEqual(two, [{ name: "Globex", status: "active" }, { name: "Initech", status: "lead" }]);
    refused(await db.from("customers").insert({ name: "Twice", email: "acme@example.com" }), 409, "23505");
    refused(await db.from("customers").insert({ email: "nameless@example.com" }), 400, "23514");
    refused(await db.from("customers").insert([{ name: "x" }, { name: "y", color: "red" }]), 400, "PGRST204");
    fine(await db.from("customers").delete().eq("name", "Plain"), 204);
  },

  async filters() {
    const of = (request) => names(request.order("name"));
    const all = () => db.from("customers").select("name");
    assert.deepEqual(await of(all()), ["Acme", "Globex", "Initech"]);
    assert.deepEqual(await of(all().eq("name", "Acme")), ["Acme"]);
    assert.deepEqual(await of(all().neq("name", "Acme")), ["Globex", "Initech"]);
    assert.deepEqual(await of(all().gt("rank", 1).lt("rank", 3)), ["Globex"]);
    assert.deepEqual(await of(all().gte("rank", 2).lte("rank", 3)), ["Globex", "Initech"]);
    assert.deepEqual(await of(all().like("name", "%ni%")), ["Initech"]);
    assert.deepEqual(await of(all().ilike("name", "%A%")), ["Acme"]);
    assert.deepEqual(await of(all().likeAnyOf("name", ["A%", "G%"])), ["Acme", "Globex"]);
    assert.deepEqual(await of(all().likeAllOf("name", ["%i%", "I%"])), ["Initech"]);
    assert.deepEqual(await of(all().ilikeAnyOf("name", ["a%"])), ["Acme"]);
    assert.deepEqual(await of(all().ilikeAllOf("name", ["%I%", "%T%"])), ["Initech"]);
    assert.deepEqual(await of(all().is("vip", null)), ["Initech"]);
    assert.deepEqual(await of(all().is("vip", true)), ["Acme"]);
    assert.deepEqual(await of(all().in("name", ["Acme", "Globex", "a,b\"c"])), ["Acme", "Globex"]);
    assert.deepEqual(await of(all().not("name", "in", "(Acme,Globex)")), ["Initech"]);
    assert.deepEqual(await of(all().contains("meta", { city: "Rome" })), ["Acme"]);
    assert.deepEqual(await of(all().contains("meta", ["b"])), ["Globex"]);
    assert.deepEqual(await of(all().containedBy("meta", ["b", "c", "d"])), ["Globex"]);
    assert.deepEqual(await of(all().overlaps("meta", ["c", "x"])), ["Globex"]);
    assert.deepEqual(await of(all().textSearch("notes", "fat & cat")), ["Acme"]);
    assert.deepEqual(await of(all().textSearch("notes", "'fat' & 'cats'", { config: "english" })), ["Acme"]);
    assert.deepEqual(await of(all().textSearch("notes", "cat fat", { type: "plain" })), ["Acme"]);
    assert.deepEqual(await of(all().textSearch("notes", "cat fat", { type: "phrase" })), []);
    assert.deepEqual(await of(all().textSearch("notes", "\"fat cat\" -dog", { type: "websearch" })), ["Acme"]);
    assert.deepEqual(await of(all().match({ name: "Acme", rank: 1 })), ["Acme"]);
    assert.deepEqual(await of(all().filter("name", "isdistinct", "Acme")), ["Globex", "Initech"]);
    assert.deepEqual(await of(all().filter("name", "match", "^[AG]")), ["Acme", "Globex"]);
    assert.deepEqual(await of(all().not("email", "is", null)), ["Acme", "Globex", "Initech"]);
    assert.deepEqual(await of(all().or("rank.eq.1,and(rank.gt.2,name.eq.Initech)")), ["Acme", "Initech"]);
    assert.deepEqual(await of(all().or("name.in.(Acme,\"x,y\"),not.and(rank.lt.3,vip.not.is.null)")), ["Acme", "Initech"]);
    assert.deepEqual(await of(all().eq("meta->>city", "Rome")), ["Acme"]);
    assert.deepEqual(await of(all().eq("meta->deep->0->n", 1)), ["Acme"]);
    refused(await all().eq("color", "red"), 400, "PGRST100");
    refused(await all().eq("pin", "1"), 400, "PGRST100");
    refused(await all().rangeLt("rank", "[1,2)"), 400, "PGRST100");
    refused(await all().textSearch("notes", "fat &"), 400, "PGRST100");
    refused(await all().filter("name", "match", "("), 400, "PGRST100");
  },

  async shapes() {
    const all = (columns, options) => db.from("customers").select(columns, options);
    assert.deepEqual(fine(await all("title:name,city:meta->>city,meta->deep").eq("rank", 1).single()), { title: "Acme", city: "Rome", deep: [{ n: 1 }] });
    assert.deepEqual(await names(all("name").order("vip", { ascending: false, nullsFirst: true }).order("rank")), ["Initech", "Acme", "Globex"]);
    assert.deepEqual(await names(all("name").order("vip", { ascending: true, nullsFirst: false }).limit(2)), ["Globex", "Acme"]);
    assert.deepEqual(await names(all("name").order("meta->>city", { nullsFirst: false }).limit(1)), ["Acme"]);
    let page = await all("name", { count: "exact" }).order("rank").range(1, 1);
    assert.deepEqual([page.status, page.count, page.data], [206, 3, [{ name: "Globex" }]]);
    page = await all("*", { count: "exact", head: true });
    assert.deepEqual([page.status, page.count, page.data], [200, 3, null]);
    for (const count of ["planned", "estimated"]) {
      page = await all("name", { count });
      assert.ok(Number.isInteger(page.count), JSON.stringify(page));
    }
    refused(await all("name", { count: "exact" }).range(10, 12), 416, "PGRST103");
    assert.equal(fine(await all("name,rank").order("rank").csv()), "name,rank\nAcme,1\nGlobex,2\nInitech,3\n");
    assert.deepEqual(fine(await all("name,vip").eq("rank", 3).setHeader("Accept", "application/vnd.pgrst.array+json;nulls=stripped")), [{ name: "Initech" }]);
    assert.equal(fine(await all("name").eq("rank", 77).maybeSingle()), null);
    assert.match(refused(await all("name").single(), 406, "PGRST116").details, /3 rows/);
    refused(await all("rank::text"), 400, "PGRST100");
    refused(await db.from("nothings").select(), 404, "PGRST205");
    refused(await client(SALES, "elsewhere").from("customers").select(), 406, "PGRST106");
    await assert.rejects(async () => { await all("color").throwOnError(); });
    // The tenant has one app, so that needs no name.
    assert.equal(fine(await client(SALES).from("customers").select()).length, 3);
    assert.equal(fine(await client(SALES).schema(APP).from("customers").select()).length, 3);
  },

  async embedding() {
    const [acme, globex] = fine(await db.from("customers").select("id").order("rank").limit(2)).map((row) => row.id);
    const contacts = [{ customer: acme, phone: "1" }, { customer: acme, phone: "2" }, { customer: globex, phone: "3" }];
    fine(await db.from("contacts").insert(contacts), 201);
    const orders = [
      { customer: acme, payer: globex, total: 10.5, placed: "2026-01-01T00:00:00Z" },
      { customer: acme, payer: acme, total: "20.00", placed: "2026-01-02T00:00:00Z" },
      { customer: globex, total: 30 },
    ];
    assert.deepEqual(fine(await db.from("orders").insert(orders).select("id,customer(name)")).map((row) => row.customer.name), ["Acme", "Acme", "Globex"]);
    const one = (request) => request.order("id").limit(1).single();
    assert.deepEqual(fine(await one(db.from("orders").select("total,placed,customer(name,credit),payer(name)"))), { total: 10.5, placed: "2026-01-01T00:00:00Z", customer: { name: "Acme", credit: 12.5 }, payer: { name: "Globex" } });
    assert.deepEqual(fine(await one(db.from("orders").select("who:customers!customer(name)"))), { who: { name: "Acme" } });
    assert.deepEqual(fine(await db.from("customers").select("name,contacts(phone)").order("rank").order("phone", { referencedTable: "contacts", ascending: false })), [
      { name: "Acme", contacts: [{ phone: "2" }, { phone: "1" }] },
      { name: "Globex", contacts: [{ phone: "3" }] },
      { name: "Initech", contacts: [] },
    ]);
    assert.match(refused(await db.from("customers").select("orders(id)"), 400, "PGRST100").details, /orders!customer/);
    const bought = db.from("customers").select("name,bought:orders!customer!inner(total),paid:orders!payer(total)").order("rank");
    assert.deepEqual(fine(await bought.gt("bought.total", 15).limit(5, { referencedTable: "paid" }).order("total", { referencedTable: "paid" })), [
      { name: "Acme", bought: [{ total: 20 }], paid: [{ total: 20 }] },
      { name: "Globex", bought: [{ total: 30 }], paid: [{ total: 10.5 }] },
    ]);
    assert.deepEqual(await names(db.from("customers").select("name,contacts()").not("contacts", "is", null).order("rank")), ["Acme", "Globex"]);
    assert.deepEqual(await names(db.from("customers").select("name,contacts()").is("contacts", null)), ["Initech"]);
    const deep = db.from("contacts").select("phone,customer(name,orders!customer(total,payer(name)))").eq("phone", "1");
    assert.deepEqual(fine(await deep.or("total.lt.15,total.gt.100", { referencedTable: "customer.orders" }).single()).customer, { name: "Acme", orders: [{ total: 10.5, payer: { name: "Globex" } }] });
    assert.deepEqual(await names(db.from("customers").select("name,contacts!inner(phone)").eq("contacts.phone", "3")), ["Globex"]);
    refused(await db.from("customers").select("name").eq("contacts.phone", "3"), 400, "PGRST100");
    refused(await db.from("customers").select("nothings(id)"), 400, "PGRST100");
    // A clerk sees active customers and no orders; what is embedded obeys the same rules.
    const clerk = client(CLERK, APP);
    fine(await db.from("customers").update({ status: "churned" }).eq("name", "Globex"), 204);
    assert.deepEqual(fine(await clerk.from("contacts").select("phone,customer(name)").order("phone")), [
      { phone: "1", customer: { name: "Acme" } },
      { phone: "2", customer: { name: "Acme" } },
      { phone: "3", customer: null },
    ]);
    assert.deepEqual(fine(await clerk.from("contacts").select("phone,customer!inner(name)").order("phone")).length, 2);
    assert.equal(fine(await clerk.from("contacts").select("phone,customer!inner(name)").eq("customer.name", "Globex")).length, 0);
    refused(await clerk.from("customers").select("name,orders!customer(total)"), 403, "42501");
    // A clerk may change only what the clerk made, and delete nothing.
    assert.deepEqual(fine(await clerk.from("customers").update({ rank: 5 }).eq("name", "Acme").select()), []);
    refused(await clerk.from("customers").delete().eq("name", "Acme"), 403, "42501");
  },

  async writes() {
    let changed = await db.from("customers").update({ rank: 11, vip: null }, { count: "exact" }).eq("name", "Acme");
    assert.deepEqual([changed.status, changed.count, changed.data], [204, 1, null]);
    assert.deepEqual(fine(await db.from("customers").update({ rank: 12 }).gt("rank", 2).select("name,rank").order("name")).length, 2);
    assert.deepEqual(fine(await db.from("customers").update({ rank: 1 }).eq("name", "Acme").select("name,contacts(phone)").single()).contacts.length, 2);
    refused(await db.from("customers").update({ rank: 1 }).in("name", ["Acme", "Initech"]).select().single(), 406, "PGRST116");
    assert.deepEqual(await names(db.from("customers").select("name").eq("rank", 1)), ["Acme"]);
    refused(await db.from("customers").update({ rank: 1 }).lt("rank", 100).maxAffected(1), 400, "PGRST124");
    refused(await db.from("customers").update({ rank: 1 }), 400, "21000");
    refused(await db.from("customers").delete(), 400, "21000");
    refused(await db.from("customers").update({ id: "x" }).eq("name", "Acme"), 400, "23514");
    assert.deepEqual(fine(await db.from("customers").upsert({ name: "Acme Ltd", email: "acme@example.com" }, { onConflict: "email" }).select("name,rank,version")).map((row) => [row.name, row.rank]), [["Acme Ltd", 1]]);
    const both = [{ name: "Other", email: "acme@example.com" }, { name: "New", email: "new@example.com" }];
    assert.deepEqual(await names(db.from("customers").upsert(both, { onConflict: "email", ignoreDuplicates: true }).select("name")), ["New"]);
    const id = "01890a5d-ac96-774b-bcce-b302099a8057";
    fine(await db.from("customers").upsert({ id, name: "By id" }), 201);
    assert.deepEqual(fine(await db.from("customers").upsert({ id, name: "By id again" }).select("name,version").single()), { name: "By id again", version: 2 });
    refused(await db.from("customers").upsert({ name: "x" }, { onConflict: "name" }), 400, "42P10");
    refused(await db.from("customers").delete().eq("name", "Acme Ltd"), 409, "23503");
    assert.deepEqual(await names(db.from("customers").delete().in("name", ["By id again", "New"]).select("name").order("name")), ["By id again", "New"]);
    const bulk = Array.from({ length: 1000 }, (_, n) => ({ name: `bulk ${n}`, rank: 1000 + n }));
    const stored = await db.from("customers").insert(bulk, { count: "exact" });
    assert.deepEqual([stored.status, stored.count], [201, 1000]);
    const gone = await db.from("customers").delete({ count: "exact" }).gte("rank", 1000);
    assert.deepEqual([gone.status, gone.count], [204, 1000]);
    assert.equal((await db.rpc("nothing")).status, 404);
  },
};

(async () => {
  for (const [name, test] of Object.entries(tests)) {
    await test();
    console.log(`ok ${name}`);
  }
})();
