//! What there is of a tenant and its app in all backends, with the names taken out: two dumps are equal when nothing but the
//! names differs.

use std::collections::BTreeSet;

use kube::{Api, ResourceExt};
use tenantry_crds::v1alpha1::Tenant;

use super::operated::Cluster;

pub type Dump = BTreeSet<String>;

/// Of the tenant and the app `name`.
pub async fn dump(cluster: &Cluster, name: &str) -> Dump {
    let api: Api<Tenant> = Api::all(cluster.endpoints.kube_client().await.unwrap());
    let uid = api.get_opt(name).await.unwrap().and_then(|tenant| tenant.uid());
    let mut lines = cluster.texts(&in_postgres(name)).await;
    lines.extend(registry(cluster, name).await);
    for key in cluster.keys(name).await {
        let groups = cluster.redis_command(&["XINFO", "GROUPS", &key]).await;
        lines.push(format!("key {key} {groups:?}"));
    }
    for index in cluster.indexes().await.into_iter().filter(|uid| uid.starts_with(&format!("{name}_"))) {
        let settings = cluster.index_settings(&index).await.unwrap_or_default();
        let ours = ["searchableAttributes", "filterableAttributes", "sortableAttributes"];
        let ours: Vec<String> = ours.iter().map(|key| settings[key].to_string()).collect();
        lines.push(format!("index {index} {}", ours.join(" ")));
    }
    let uid = uid.unwrap_or_else(|| "no uid".to_owned());
    let schema = name.replace('-', "_");
    let plain = |line: String| {
        without_shards(&line.replace(&uid, "UID").replace(name, "NAME").replace(&schema, "NAME"))
    };
    lines.into_iter().map(plain).collect()
}

/// The shard in a Redis key, as `{s2c}`, follows from the name.
fn without_shards(line: &str) -> String {
    let mut parts = line.split("{s");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + "{s" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

fn in_postgres(name: &str) -> String {
    let schema = format!("tenant_{}", name.replace('-', "_"));
    let like = format!("{}%", schema.replace('_', r"\_"));
    format!(
        r"WITH s AS (SELECT oid FROM pg_namespace WHERE nspname = '{schema}'),
               c AS (SELECT * FROM pg_class WHERE relnamespace IN (SELECT oid FROM s)),
               r AS (SELECT * FROM pg_roles WHERE rolname LIKE '{like}')
          SELECT concat_ws(' ', 'schema', nspname, nspowner::regrole, nspacl, obj_description(oid, 'pg_namespace'))
            FROM pg_namespace WHERE oid IN (SELECT oid FROM s)
          UNION ALL SELECT concat_ws(' ', 'role', rolname, rolcanlogin, rolinherit, rolsuper, rolcreaterole,
                                     rolconnlimit, shobj_description(oid, 'pg_authid')) FROM r
          UNION ALL SELECT concat_ws(' ', 'member', member::regrole, 'of', roleid::regrole, admin_option,
                                     inherit_option, set_option)
            FROM pg_auth_members WHERE roleid IN (SELECT oid FROM r) OR member IN (SELECT oid FROM r)
          UNION ALL SELECT concat_ws(' ', 'relation', relname, relkind, relowner::regrole,
                                     (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(relacl) a),
                                     relrowsecurity, obj_description(oid, 'pg_class')) FROM c
          UNION ALL SELECT concat_ws(' ', 'column', c.relname, attname, format_type(atttypid, atttypmod), attnotnull,
                                     pg_get_expr(adbin, adrelid))
            FROM pg_attribute a JOIN c ON c.oid = attrelid AND c.relkind = 'r'
            LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0 AND NOT attisdropped
          UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, convalidated,
                                     pg_get_constraintdef(oid))
            FROM pg_constraint WHERE connamespace IN (SELECT oid FROM s)
          UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid)
            FROM pg_index WHERE indrelid IN (SELECT oid FROM c)
          UNION ALL SELECT concat_ws(' ', 'default', defaclrole::regrole, defaclobjtype, defaclacl)
            FROM pg_default_acl WHERE defaclnamespace IN (SELECT oid FROM s)"
    )
}

/// Every row of the registry that has the tenant or the app in it, without times and without the number of writes.
async fn registry(cluster: &Cluster, name: &str) -> Vec<String> {
    let tables =
        "SELECT c.relname::text || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind = 'r' AND c.relname NOT LIKE '%audit%'
           AND c.relname NOT LIKE '%outbox%'
           AND (a.attname IN ('tenant', 'app') OR c.relname = 'tenant' AND a.attname = 'name')";
    let mut rows = Vec::new();
    for place in cluster.texts(tables).await {
        let (table, column) = place.split_once('.').unwrap();
        let sql = format!(
            "SELECT '{table} ' || regexp_replace((to_jsonb(t) - 'revision')::text, '\"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[^\"]*\"', 'TIME', 'g')
             FROM tenantry.{table} t WHERE {column}::text = '{name}'"
        );
        rows.extend(cluster.texts(&sql).await);
    }
    rows
}
