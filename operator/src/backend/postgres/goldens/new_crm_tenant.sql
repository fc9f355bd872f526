SELECT tenantry.fence(3);
CREATE ROLE "tenant_acme_owner" NOLOGIN;
COMMENT ON ROLE "tenant_acme_owner" IS 'tenantry.dev/tenant 00000000-0000-0000-0000-000000000007';
CREATE ROLE "tenant_acme" NOLOGIN;
COMMENT ON ROLE "tenant_acme" IS 'tenantry.dev/tenant 00000000-0000-0000-0000-000000000007';
GRANT "tenantry_tenants" TO "tenant_acme" WITH INHERIT TRUE, SET FALSE;
GRANT "tenant_acme" TO "tenantry_shard_00" WITH SET TRUE, INHERIT FALSE;
GRANT "tenant_acme_owner" TO CURRENT_USER WITH SET TRUE, INHERIT FALSE;
CREATE SCHEMA "tenant_acme" AUTHORIZATION "tenant_acme_owner";
SET LOCAL ROLE "tenant_acme_owner";
COMMENT ON SCHEMA "tenant_acme" IS 'tenantry.dev/tenant 00000000-0000-0000-0000-000000000007';
GRANT USAGE ON SCHEMA "tenant_acme" TO "tenant_acme";
ALTER DEFAULT PRIVILEGES IN SCHEMA "tenant_acme" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "tenant_acme";
ALTER DEFAULT PRIVILEGES IN SCHEMA "tenant_acme" GRANT USAGE ON SEQUENCES TO "tenant_acme";
CREATE TABLE "tenant_acme"."core_user" (
    "id" uuid NOT NULL,
    "version" bigint DEFAULT 1 NOT NULL,
    "created_at" timestamp with time zone DEFAULT now() NOT NULL,
    "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
    "created_by" text NOT NULL,
    "updated_by" text NOT NULL,
    "extra" jsonb DEFAULT '{}' NOT NULL,
    "email" text NOT NULL,
    "email_as_written" text,
    "display_name" text,
    "password_hash" text,
    "roles" jsonb DEFAULT '[]',
    "enabled" boolean DEFAULT true NOT NULL,
    "claims" jsonb DEFAULT '{}',
    "metadata" jsonb DEFAULT '{}',
    "email_verified_at" timestamp with time zone,
    CONSTRAINT "core_user-id-pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "core_user-email-key" ON "tenant_acme"."core_user" ("email");
CREATE TABLE "tenant_acme"."core_api_key" (
    "id" uuid NOT NULL,
    "version" bigint DEFAULT 1 NOT NULL,
    "created_at" timestamp with time zone DEFAULT now() NOT NULL,
    "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
    "created_by" text NOT NULL,
    "updated_by" text NOT NULL,
    "extra" jsonb DEFAULT '{}' NOT NULL,
    "name" text NOT NULL,
    "prefix" text NOT NULL,
    "key_hash" text NOT NULL,
    "roles" jsonb DEFAULT '[]',
    "expires_at" timestamp with time zone,
    "last_used_at" timestamp with time zone,
    "acts_as" uuid,
    "read_only" boolean DEFAULT false NOT NULL,
    "addresses" jsonb DEFAULT '[]',
    CONSTRAINT "core_api_key-id-pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "core_api_key-prefix-key" ON "tenant_acme"."core_api_key" ("prefix");
CREATE TABLE "tenant_acme"."core_setting" (
    "id" text NOT NULL,
    "version" bigint DEFAULT 1 NOT NULL,
    "created_at" timestamp with time zone DEFAULT now() NOT NULL,
    "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
    "created_by" text NOT NULL,
    "updated_by" text NOT NULL,
    "extra" jsonb DEFAULT '{}' NOT NULL,
    "key" text NOT NULL,
    "value" jsonb,
    CONSTRAINT "core_setting-id-pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "core_setting-key-key" ON "tenant_acme"."core_setting" ("key");
CREATE TABLE "tenant_acme"."core_webhook" (
    "id" uuid NOT NULL,
    "version" bigint DEFAULT 1 NOT NULL,
    "created_at" timestamp with time zone DEFAULT now() NOT NULL,
    "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
    "created_by" text NOT NULL,
    "updated_by" text NOT NULL,
    "extra" jsonb DEFAULT '{}' NOT NULL,
    "url" text NOT NULL,
    "events" jsonb DEFAULT '[]',
    "secret" text,
    "enabled" boolean DEFAULT true NOT NULL,
    CONSTRAINT "core_webhook-id-pkey" PRIMARY KEY (id)
);
CREATE TABLE "tenant_acme"."core_file" (
    "id" uuid NOT NULL,
    "version" bigint DEFAULT 1 NOT NULL,
    "created_at" timestamp with time zone DEFAULT now() NOT NULL,
    "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
    "created_by" text NOT NULL,
    "updated_by" text NOT NULL,
    "extra" jsonb DEFAULT '{}' NOT NULL,
    "name" text NOT NULL,
    "content_type" text NOT NULL,
    "size" bigint NOT NULL,
    "digest" text,
    CONSTRAINT "core_file-id-pkey" PRIMARY KEY (id)
);
CREATE TABLE "tenant_acme"."crm_customer" (
    "id" uuid NOT NULL,
    "version" bigint DEFAULT 1 NOT NULL,
    "created_at" timestamp with time zone DEFAULT now() NOT NULL,
    "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
    "created_by" text NOT NULL,
    "updated_by" text NOT NULL,
    "extra" jsonb DEFAULT '{}' NOT NULL,
    "name" text NOT NULL,
    "email" text,
    "status" text DEFAULT 'lead' CONSTRAINT "crm_customer-status-check" CHECK ("status" = ANY (ARRAY['lead', 'active', 'churned'])),
    "credit" numeric(18,2),
    CONSTRAINT "crm_customer-id-pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "crm_customer-email-key" ON "tenant_acme"."crm_customer" ("email");
CREATE INDEX "crm_customer-status-idx" ON "tenant_acme"."crm_customer" ("status");
CREATE SEQUENCE "tenant_acme"."crm_order-id-series";
CREATE TABLE "tenant_acme"."crm_order" (
    "id" text NOT NULL,
    "version" bigint DEFAULT 1 NOT NULL,
    "created_at" timestamp with time zone DEFAULT now() NOT NULL,
    "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
    "created_by" text NOT NULL,
    "updated_by" text NOT NULL,
    "extra" jsonb DEFAULT '{}' NOT NULL,
    "customer" uuid NOT NULL,
    "total" numeric(18,2),
    "items" jsonb,
    CONSTRAINT "crm_order-id-pkey" PRIMARY KEY (id)
);
CREATE INDEX "crm_order-customer-idx" ON "tenant_acme"."crm_order" ("customer");
ALTER TABLE "tenant_acme"."crm_order" ADD CONSTRAINT "crm_order-customer-fk" FOREIGN KEY ("customer") REFERENCES "tenant_acme"."crm_customer" (id);
RESET ROLE;
INSERT INTO tenantry.tenant (name, uid, state, suspended_message, schema_name, tenant_role, login_shard, placement, quotas, auth, cors, generation, ready) VALUES ('acme', '00000000-0000-0000-0000-000000000007', 'Active', NULL, 'tenant_acme', 'tenant_acme', 0, '{"postgres":"default","redis":"default","search":"default"}', '{}', '{}', '{}', 1, true) ON CONFLICT (name) DO UPDATE SET state = excluded.state, suspended_message = excluded.suspended_message, login_shard = excluded.login_shard, placement = excluded.placement, quotas = excluded.quotas, auth = excluded.auth, cors = excluded.cors, generation = excluded.generation, ready = excluded.ready, revision = tenant.revision + 1, deleted_at = NULL WHERE tenant.uid = excluded.uid;
INSERT INTO tenantry.tenant_host (host, tenant) VALUES ('acme.example.com', 'acme');
INSERT INTO tenantry.tenant_app (tenant, app, version, state) VALUES ('acme', 'core', '1.2.0', 'Installed') ON CONFLICT (tenant, app) DO UPDATE SET version = excluded.version, state = excluded.state;
INSERT INTO tenantry.tenant_app (tenant, app, version, state) VALUES ('acme', 'crm', '1.0.0', 'Installed') ON CONFLICT (tenant, app) DO UPDATE SET version = excluded.version, state = excluded.state;
INSERT INTO tenantry.stream_binding (tenant, app, queue, class, stream_key, max_attempts, lease_seconds, max_length) VALUES ('acme', 'crm', 'default', 'Fast', 'q:{sa0}:acme:crm:default', 5, 30, 10000) ON CONFLICT (tenant, app, queue) DO UPDATE SET class = excluded.class, max_attempts = excluded.max_attempts, lease_seconds = excluded.lease_seconds, max_length = excluded.max_length;
INSERT INTO tenantry.search_binding (tenant, app, doc_type, engine, isolation, index_uid, settings, settings_digest, live) VALUES ('acme', 'crm', 'customer', 'Meilisearch', 'Dedicated', 'acme_crm_customer', '{"searchable":["name","email"],"filterable":["created_by","id","status"],"sortable":["created_at"]}', 'bcfa59aadb7935025610eeb2d6bcbfa343816596dfd94e7f58d00a8d9cbd77b5', false) ON CONFLICT (tenant, app, doc_type) DO UPDATE SET settings = excluded.settings, settings_digest = excluded.settings_digest, live = excluded.live;
