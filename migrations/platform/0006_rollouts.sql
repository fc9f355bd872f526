-- Why a tenant did not reach a version that it was told to. Together with `version`, which says what it did reach, this is the
-- state of a rollout: a new leader reads it and goes on.
ALTER TABLE tenantry.tenant_app
    ADD COLUMN failed_version text,
    ADD COLUMN failure_reason text,
    ADD COLUMN failure text;

-- The version that tenants are to have: the one that the App named last, which need not be the highest. Of several instances
-- the highest revision counts, since one may have been away when it was written.
CREATE TABLE tenantry.app_target (
    app text PRIMARY KEY,
    version text NOT NULL,
    revision bigint NOT NULL,
    FOREIGN KEY (app, version) REFERENCES tenantry.app_version
);
INSERT INTO tenantry.app_target (app, version, revision)
    SELECT DISTINCT ON (app) app, version, 1 FROM tenantry.app_version ORDER BY app, published_at DESC;
