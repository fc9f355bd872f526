// @supabase/supabase-js as an application uses it. Signing in has tests of its own; here the user's token is at hand.
const assert = require("node:assert/strict");
const { createClient } = require("@supabase/supabase-js");

const { TENANTRY_URL, APP, KEY, SALES } = process.env;

(async () => {
  const options = { accessToken: async () => SALES };
  // Once with the app as the schema, once without a word: `public` means the one app of the tenant.
  for (const supabase of [createClient(TENANTRY_URL, KEY, { ...options, db: { schema: APP } }), createClient(TENANTRY_URL, KEY, options)]) {
    const inserted = await supabase.from("customers").insert({ name: "Acme", rank: 1 }).select().single();
    assert.equal(inserted.error, null, JSON.stringify(inserted));
    const { data: contact } = await supabase.from("contacts").insert({ customer: inserted.data.id, phone: "1" }).select("phone,customer(name)").single();
    assert.deepEqual(contact, { phone: "1", customer: { name: "Acme" } });
    const { count } = await supabase.from("customers").select("*", { count: "exact", head: true });
    assert.equal(count, 1);
    const { data } = await supabase.from("customers").select("name, contacts(phone)").eq("rank", 1).order("name").limit(10);
    assert.deepEqual(data, [{ name: "Acme", contacts: [{ phone: "1" }] }]);
    assert.equal((await supabase.schema(APP).from("contacts").delete().eq("phone", "1")).status, 204);
    const gone = await supabase.from("customers").delete().eq("id", inserted.data.id).select();
    assert.deepEqual([gone.status, gone.data.length], [200, 1]);
    const { error } = await supabase.from("customers").select("color");
    assert.equal(error.code, "PGRST100");
  }
  console.log("ok");
})();
