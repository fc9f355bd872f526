// What an application does with supabase-js; nothing here knows of Tenantry. Ends with an error when anything is not as it is
// with Supabase.
const assert = require("node:assert");
const { createClient } = require("@supabase/supabase-js");

const { SUPABASE_URL: url, SUPABASE_KEY: key, APP: schema, EMAIL: email, PASSWORD: password } = process.env;
const options = { auth: { persistSession: false, autoRefreshToken: false }, db: { schema } };

async function main() {
  const client = createClient(url, key, options);

  const wrong = await client.auth.signInWithPassword({ email, password: "wrong" });
  assert.equal(wrong.error.code, "invalid_credentials");
  assert.equal(wrong.data.session, null);

  const events = [];
  client.auth.onAuthStateChange((event) => events.push(event));
  const signedIn = await client.auth.signInWithPassword({ email, password });
  assert.equal(signedIn.error, null);
  assert.equal(signedIn.data.user.email, email);
  assert.ok(signedIn.data.session.expires_at > Date.now() / 1000 + 60);
  const { identities, email_confirmed_at: confirmed, last_sign_in_at: last } = signedIn.data.user;
  assert.deepEqual(identities.map((one) => [one.provider, one.identity_data.email]), [["email", email]]);
  assert.ok(confirmed && Math.abs(Date.parse(last) - Date.now()) < 60000, last);

  const user = await client.auth.getUser();
  assert.equal(user.error, null);
  assert.equal(user.data.user.id, signedIn.data.user.id);

  // What Supabase's guides for servers call: the token is checked with the published keys.
  const claims = await client.auth.getClaims();
  assert.equal(claims.error, null);
  assert.deepEqual([claims.data.claims.sub, claims.data.header.alg], [user.data.user.id, "ES256"]);

  const inserted = await client.from("cards").insert({ title: "from supabase-js" }).select();
  assert.equal(inserted.error, null, JSON.stringify(inserted.error));
  assert.equal(inserted.data[0].title, "from supabase-js");
  const read = await client.from("cards").select("id,title").eq("title", "from supabase-js");
  assert.equal(read.error, null, JSON.stringify(read.error));
  assert.equal(read.data.length, 1);

  const refreshed = await client.auth.refreshSession();
  assert.equal(refreshed.error, null);
  assert.notEqual(refreshed.data.session.refresh_token, signedIn.data.session.refresh_token);
  const tabs = await Promise.all(
    [0, 1, 2].map(() => {
      const tab = createClient(url, key, options);
      return tab.auth.refreshSession({ refresh_token: refreshed.data.session.refresh_token });
    }),
  );
  for (const tab of tabs) assert.equal(tab.error, null);
  assert.equal(new Set(tabs.map((tab) => tab.data.session.refresh_token)).size, 1);

  const updated = await client.auth.updateUser({ data: { team: "blue" } });
  assert.equal(updated.error, null, JSON.stringify(updated.error));
  assert.equal(updated.data.user.user_metadata.team, "blue");

  const reset = await client.auth.resetPasswordForEmail(email);
  assert.equal(reset.error, null);

  const out = await client.auth.signOut();
  assert.equal(out.error, null);
  assert.ok(events.includes("SIGNED_IN") && events.includes("SIGNED_OUT"), events.join());
  const gone = await createClient(url, key, options).auth.refreshSession({
    refresh_token: tabs[0].data.session.refresh_token,
  });
  assert.deepEqual([gone.error.code, gone.error.status], ["refresh_token_not_found", 400]);

  // Somebody signs out everywhere: whoever asks next is signed out here, too.
  const here = createClient(url, key, options);
  const left = [];
  here.auth.onAuthStateChange((event) => left.push(event));
  const elsewhere = createClient(url, key, options);
  for (const each of [here, elsewhere]) assert.equal((await each.auth.signInWithPassword({ email, password })).error, null);
  assert.equal((await elsewhere.auth.signOut({ scope: "global" })).error, null);
  const ended = await here.auth.getUser();
  assert.equal(ended.error.name, "AuthSessionMissingError", JSON.stringify(ended.error));
  assert.equal((await here.auth.getSession()).data.session, null);
  assert.ok(left.includes("SIGNED_OUT"), left.join());
  const expired = await here.auth.verifyOtp({ token_hash: "tno_nothing", type: "recovery" });
  assert.deepEqual([expired.error.code, expired.error.status], ["otp_expired", 403]);

  const anonymous = await client.from("cards").select("id");
  assert.notEqual(anonymous.error, null);

  const fresh = createClient(url, key, options);
  const weak = await fresh.auth.signUp({ email: `new.${email}`, password: "short" });
  assert.equal(weak.error.code, "weak_password");
  const signedUp = await fresh.auth.signUp({
    email: `new.${email}`, password, options: { data: { team: "red" } },
  });
  assert.equal(signedUp.error, null, JSON.stringify(signedUp.error));
  assert.equal(signedUp.data.session.user.user_metadata.team, "red");
  assert.equal(signedUp.data.user.identities.length, 1);
  const again = await createClient(url, key, options).auth.signUp({ email: `new.${email}`, password });
  assert.equal(again.error.code, "user_already_exists");
  console.log("ok");
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
