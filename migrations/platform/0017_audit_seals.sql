-- What a tenant's transactions say of a row is what was done; its number, its tenant and its time are the server's to say.
REVOKE INSERT ON tenantry.audit FROM tenantry_tenants;
GRANT INSERT (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) ON tenantry.audit TO tenantry_tenants;

-- The worker seals audit rows into one chain for each tenant. A seal covers the rows with ids above the `upto` of the seal before
-- it and up to its own; `entries` has the id (8 bytes, big-endian) and the SHA-256 of each of them (32 bytes), in order.
CREATE TABLE tenantry.audit_seal (
    role name NOT NULL,
    seal bigint NOT NULL CHECK (seal > 0),
    upto bigint NOT NULL,
    entries bytea NOT NULL CHECK (length(entries) > 0 AND length(entries) % 40 = 0),
    sealed_at timestamptz NOT NULL,
    previous bytea NOT NULL CHECK (length(previous) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (role, seal)
);

-- Where each chain ends, signed, so that an end that was cut off is missed.
CREATE TABLE tenantry.audit_head (
    role name PRIMARY KEY,
    seal bigint NOT NULL,
    rows bigint NOT NULL,
    upto bigint NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    key_id bytea NOT NULL,
    mac bytea NOT NULL
);

-- No transaction can add a row with an id up to this one any more, and all that there are, are sealed.
CREATE TABLE tenantry.audit_horizon (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    upto bigint NOT NULL
);
INSERT INTO tenantry.audit_horizon (upto) VALUES (0);

-- New rows are found by their ids whatever their tenant. Rows come in the order of ids, nearly, so this costs an insert next to nothing.
CREATE INDEX audit_by_id ON tenantry.audit USING brin (id) WITH (pages_per_range = 16, autosummarize = on);

GRANT SELECT ON SEQUENCE tenantry.audit_id TO tenantry_controlplane;
GRANT SELECT, INSERT ON tenantry.audit_seal TO tenantry_controlplane;
GRANT SELECT, INSERT, UPDATE ON tenantry.audit_head TO tenantry_controlplane;
GRANT SELECT, UPDATE ON tenantry.audit_horizon TO tenantry_controlplane;
-- A tenant that is deleted takes its chain along.
GRANT SELECT (role, seal), DELETE ON tenantry.audit_seal TO tenantry_provisioners;
GRANT SELECT (role), DELETE ON tenantry.audit_head TO tenantry_provisioners;
