-- The provisioned state. The operator is its only writer.

CREATE TABLE tenantry.leader_epoch (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch bigint NOT NULL,
    holder text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
INSERT INTO tenantry.leader_epoch (epoch, holder) VALUES (0, '');

-- Opens every provisioning transaction. The row lock makes a new leader wait for the ones that already passed, and an old
-- leader fail from then on. A definer function, because FOR SHARE alone would need the right to change the epoch.
CREATE FUNCTION tenantry.fence(mine bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM tenantry.leader_epoch WHERE epoch = mine FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % is not the newest any more', mine USING ERRCODE = 'TN001';
    END IF;
END
$$;

CREATE TABLE tenantry.login_shard (
    shard smallint PRIMARY KEY CHECK (shard >= 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenantry.tenant (
    name text PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    state text NOT NULL CHECK (state IN ('Active', 'Suspended', 'Retained')),
    suspended_message text,
    schema_name text NOT NULL UNIQUE,
    tenant_role text NOT NULL UNIQUE,
    login_shard smallint NOT NULL REFERENCES tenantry.login_shard,
    placement jsonb NOT NULL,
    quotas jsonb NOT NULL DEFAULT '{}',
    generation bigint NOT NULL,
    ready boolean NOT NULL,
    -- Counts every change of this row or of a row that belongs to the tenant.
    revision bigint NOT NULL DEFAULT 1,
    deleted_at timestamptz
);

CREATE TABLE tenantry.tenant_host (
    host text PRIMARY KEY,
    tenant text NOT NULL REFERENCES tenantry.tenant ON DELETE CASCADE
);
CREATE INDEX tenant_host_tenant ON tenantry.tenant_host (tenant);

CREATE TABLE tenantry.app_version (
    app text NOT NULL,
    version text NOT NULL,
    digest text NOT NULL,
    definition jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, version)
);

CREATE TABLE tenantry.tenant_app (
    tenant text NOT NULL REFERENCES tenantry.tenant ON DELETE CASCADE,
    app text NOT NULL,
    version text NOT NULL,
    state text NOT NULL CHECK (state IN ('Installed', 'Removed')),
    PRIMARY KEY (tenant, app),
    FOREIGN KEY (app, version) REFERENCES tenantry.app_version
);
CREATE INDEX tenant_app_version ON tenantry.tenant_app (app, version);

CREATE TABLE tenantry.search_binding (
    tenant text NOT NULL REFERENCES tenantry.tenant ON DELETE CASCADE,
    app text NOT NULL,
    doc_type text NOT NULL,
    engine text NOT NULL CHECK (engine IN ('Meilisearch', 'Postgres')),
    isolation text NOT NULL CHECK (isolation IN ('Dedicated', 'Shared')),
    index_uid text NOT NULL UNIQUE,
    building_uid text UNIQUE,
    settings jsonb NOT NULL,
    settings_digest text NOT NULL,
    -- False until the engine has the index and these settings: the row is the intent, written before the engine is asked.
    live boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant, app, doc_type)
);

CREATE TABLE tenantry.stream_binding (
    tenant text NOT NULL REFERENCES tenantry.tenant ON DELETE CASCADE,
    app text NOT NULL,
    queue text NOT NULL,
    class text NOT NULL CHECK (class IN ('Durable', 'Fast')),
    stream_key text NOT NULL UNIQUE,
    max_attempts integer NOT NULL CHECK (max_attempts > 0),
    lease_seconds integer NOT NULL CHECK (lease_seconds > 0),
    max_length integer NOT NULL CHECK (max_length > 0),
    PRIMARY KEY (tenant, app, queue)
);

-- Registry changes are rare, so the global lock of NOTIFY does not matter here; tenant traffic never notifies.
CREATE FUNCTION tenantry.notify_tenant() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('tenantry_registry', 'tenant ' || coalesce(NEW.name, OLD.name));
    RETURN NULL;
END
$$;
CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON tenantry.tenant
    FOR EACH ROW EXECUTE FUNCTION tenantry.notify_tenant();

CREATE FUNCTION tenantry.notify_app() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('tenantry_registry', 'app ' || coalesce(NEW.app, OLD.app));
    RETURN NULL;
END
$$;
CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON tenantry.app_version
    FOR EACH ROW EXECUTE FUNCTION tenantry.notify_app();

REVOKE ALL ON FUNCTION tenantry.fence(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.fence(bigint) TO tenantry_provisioners;
GRANT SELECT ON tenantry.leader_epoch, tenantry.login_shard, tenantry.app_version TO tenantry_provisioners;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON tenantry.tenant, tenantry.tenant_host, tenantry.tenant_app, tenantry.search_binding, tenantry.stream_binding
    TO tenantry_provisioners;
GRANT SELECT
    ON tenantry.login_shard, tenantry.tenant, tenantry.tenant_host, tenantry.app_version, tenantry.tenant_app,
       tenantry.search_binding, tenantry.stream_binding
    TO tenantry_controlplane;
