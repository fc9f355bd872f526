-- Replicas ask for what changed, instead of being notified. Everybody who can log in can listen to a channel, notify on it, and
-- fill the queue that all channels of a server share, after which no transaction with a notification commits any more.
--
-- What is new since a look is exact: a row of a transaction that the snapshot of that look did not show. No time would do, since
-- transactions end in another order than they begin.

-- Names of tenants and apps whose rows in the registry changed, the removed ones included. The worker removes old rows.
CREATE TABLE tenantry.registry_change (
    -- `tenant NAME` or `app NAME`.
    what text PRIMARY KEY,
    changed_in xid8 NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX registry_change_in ON tenantry.registry_change (changed_in);
GRANT SELECT, DELETE ON tenantry.registry_change TO tenantry_controlplane;

DROP TRIGGER notify ON tenantry.tenant;
DROP TRIGGER notify ON tenantry.app_version;
DROP FUNCTION tenantry.notify_tenant();
DROP FUNCTION tenantry.notify_app();

-- As its owner: who changes the registry need not be able to write here. The arguments are what kind of thing the row is and the
-- column with its name.
CREATE FUNCTION tenantry.note_registry_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tenantry.registry_change AS c (what, changed_in, changed_at)
    VALUES (TG_ARGV[0] || ' ' || (to_jsonb(coalesce(NEW, OLD)) ->> TG_ARGV[1]), pg_current_xact_id(), clock_timestamp())
    ON CONFLICT (what) DO UPDATE SET changed_in = excluded.changed_in, changed_at = excluded.changed_at
        WHERE c.changed_in <> excluded.changed_in;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tenantry.note_registry_change() FROM PUBLIC;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON tenantry.tenant
    FOR EACH ROW EXECUTE FUNCTION tenantry.note_registry_change('tenant', 'name');
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON tenantry.app_version
    FOR EACH ROW EXECUTE FUNCTION tenantry.note_registry_change('app', 'app');

-- Rows from before this migration are read with all others when a replica connects.
ALTER TABLE tenantry.auth_change ADD COLUMN changed_in xid8 NOT NULL DEFAULT '0';
CREATE INDEX auth_change_in ON tenantry.auth_change (changed_in);

CREATE OR REPLACE FUNCTION tenantry.note_auth_change(of name, what text, at_version bigint, now_holds json) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tenantry.auth_change (role, id, version, state, changed_in)
    VALUES (of, what, at_version, now_holds, pg_current_xact_id())
    ON CONFLICT (role, id) DO UPDATE
        SET version = excluded.version, state = excluded.state, changed_at = excluded.changed_at,
            changed_in = excluded.changed_in;
END
$$;
