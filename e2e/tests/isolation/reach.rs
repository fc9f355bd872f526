//! The attacker's code, and what it tells of where it ran.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::postgres::PgListener;
use tenantry_e2e::world::{World, unique};

/// SQL of a function `{attacker}.reach(way text) RETURNS boolean`, which tries to become the victim in every way that a session may know and
/// tells on a channel, from where it ran and what it got. A channel works in a transaction that only reads.
///
/// `IMMUTABLE` is a lie: that is how code gets into indexes and generated columns.
pub fn function(attacker: &str, victim: &str, table: &str, channel: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {attacker}.reach(way text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $f$
         DECLARE
             loot text; step text; was text := current_user;
         BEGIN
             FOREACH step IN ARRAY ARRAY[
                 'SELECT title FROM {victim}.{table} LIMIT 1',
                 $$SELECT set_config('role', '{victim}', true)$$, 'SELECT title FROM {victim}.{table} LIMIT 1',
                 'RESET ROLE', 'SET ROLE {victim}', 'SELECT title FROM {victim}.{table} LIMIT 1',
                 'SET ROLE {victim}_owner', 'SELECT title FROM {victim}.{table} LIMIT 1',
                 'SET ROLE NONE', 'SELECT title FROM {victim}.{table} LIMIT 1',
                 $$UPDATE {victim}.{table} SET title = 'touched'$$,
                 $$INSERT INTO {victim}.core_api_key (id) VALUES (gen_random_uuid())$$,
                 $$UPDATE tenantry.tenant SET ready = false$$,
                 'SET SESSION AUTHORIZATION tenantry_operator',
                 'ALTER ROLE {victim} LOGIN',
                 'GRANT {victim} TO CURRENT_USER'
             ] LOOP
                 BEGIN
                     IF step LIKE 'SELECT title%' THEN EXECUTE step INTO loot; ELSE EXECUTE step; END IF;
                     IF step NOT LIKE 'RESET%' AND step NOT LIKE 'SET ROLE NONE' THEN
                         loot := coalesce(loot, step);
                     END IF;
                 EXCEPTION WHEN OTHERS THEN NULL;
                 END;
             END LOOP;
             -- As before, or what follows would fail and nobody would have noticed.
             BEGIN PERFORM set_config('role', was, true); EXCEPTION WHEN OTHERS THEN NULL; END;
             PERFORM pg_notify('{channel}', json_build_object(
                 'way', way, 'session', session_user, 'was', was, 'loot', loot)::text);
             RETURN true;
         EXCEPTION WHEN OTHERS THEN RETURN true;
         END $f$"
    )
}

/// Tells where to stop reading.
const END: &str = "reach_end";

/// What the function told.
pub struct Told {
    listener: PgListener,
}

/// Where the code ran, by the way that it was planted.
#[derive(Debug, Default)]
pub struct Sessions(pub BTreeMap<String, BTreeSet<String>>);

impl Told {
    /// Listens from now on.
    pub async fn listen(world: &World, channel: &str) -> Self {
        let mut listener = PgListener::connect(&world.platform.endpoints().database_url).await.unwrap();
        listener.listen_all([channel, END]).await.unwrap();
        Self { listener }
    }

    /// All that was told until now. Fails when the code got anything.
    pub async fn sessions(&mut self) -> Sessions {
        let mut sessions = Sessions::default();
        // What was committed before this is in the queue before it.
        let end = unique("end-");
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(END)
            .bind(&end)
            .execute(&mut self.listener)
            .await
            .unwrap();
        loop {
            let told = self.listener.recv().await.unwrap();
            if told.channel() == END {
                if told.payload() == end {
                    return sessions;
                }
                continue;
            }
            let told: Value = serde_json::from_str(told.payload()).unwrap();
            assert_eq!(told["loot"], Value::Null, "it got something: {told}");
            let of = |member: &str| told[member].as_str().unwrap().to_owned();
            sessions.0.entry(of("way")).or_default().insert(of("session"));
        }
    }
}

impl Sessions {
    /// The sessions of one way, sorted.
    pub fn of(&self, way: &str) -> Vec<&str> {
        self.0.get(way).into_iter().flatten().map(String::as_str).collect()
    }

    /// Every session in which any of it ran.
    pub fn all(&self) -> BTreeSet<&str> {
        self.0.values().flatten().map(String::as_str).collect()
    }
}
