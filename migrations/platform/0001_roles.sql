-- Roles are global to the server, so another database of the same server may have made them already.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tenantry_tenants') THEN
        -- Every tenant's DML role is a member: the one grant that opens the journals to them.
        CREATE ROLE tenantry_tenants NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tenantry_provisioners') THEN
        -- Every provisioner login is a member: what provisioning may do in this schema.
        CREATE ROLE tenantry_provisioners NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tenantry_controlplane') THEN
        -- The login of the control plane for all that is the same for every tenant. The operator sets its password.
        CREATE ROLE tenantry_controlplane NOLOGIN;
    END IF;
    EXECUTE pg_catalog.format('GRANT CONNECT, CREATE ON DATABASE %I TO tenantry_provisioners', pg_catalog.current_database());
    EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO tenantry_controlplane', pg_catalog.current_database());
END
$$;

GRANT USAGE ON SCHEMA tenantry TO tenantry_tenants, tenantry_provisioners, tenantry_controlplane;
