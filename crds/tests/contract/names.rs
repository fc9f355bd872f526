//! No two tenants can meet in a derived name: proved over every short name and by property over long ones.

use std::{
    collections::HashMap,
    fmt::{Debug, Display},
};

use proptest::prelude::*;
use tenantry_crds::names::{
    AppName, DocTypeName, FieldName, IndexUid, MigratorRole, OwnerRole, POSTGRES_IDENTIFIER_MAX, QueueName,
    RedisKey, RedisShard, RelationKind, RelationName, SchemaName, TableName, TenantName, TenantRole,
    TrafficLogin,
};

const KINDS: [RelationKind; 6] = [
    RelationKind::PrimaryKey,
    RelationKind::Index,
    RelationKind::Unique,
    RelationKind::ForeignKey,
    RelationKind::Check,
    RelationKind::Series,
];

/// The source of each name; a second source for the same name is a collision.
struct Injective<S>(HashMap<String, S>);

impl<S: PartialEq + Debug> Injective<S> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn insert(&mut self, name: impl Display, source: S) {
        let name = name.to_string();
        match self.0.get(&name) {
            Some(other) => assert_eq!(*other, source, "both are called {name}"),
            None => {
                self.0.insert(name, source);
            }
        }
    }
}

/// Every text over `alphabet` of at most `longest` letters.
fn texts(alphabet: &[char], longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut from = 0;
    for _ in 0..longest {
        let grown: Vec<String> =
            all[from..].iter().flat_map(|text| alphabet.iter().map(move |c| format!("{text}{c}"))).collect();
        from = all.len();
        all.extend(grown);
    }
    all
}

fn short<N>(alphabet: &[char], longest: usize, parse: impl Fn(&str) -> Option<N>) -> Vec<N> {
    texts(alphabet, longest).iter().filter_map(|text| parse(text)).collect()
}

/// Short names over the letters that derivation treats specially, and some that end like an owner role.
fn short_tenants() -> Vec<TenantName> {
    let mut all = short(&['a', 'b', '0', '-'], 5, |text| TenantName::new(text).ok());
    let endings = ["-owner-a", "owner", "-owners", "-owne", "-owner"];
    let ended = short(&['a', '-'], 3, |text| TenantName::new(text).ok());
    all.extend(
        ended
            .iter()
            .flat_map(|t| endings.iter().filter_map(move |e| TenantName::new(&format!("{t}{e}")).ok())),
    );
    all
}

#[test]
fn no_short_tenants_share_a_schema_or_a_role() {
    let tenants = short_tenants();
    assert!(tenants.len() > 500, "{}", tenants.len());
    let mut schemas = Injective::new();
    // Roles of both sorts live in one namespace, so a DML role must not be another tenant's owner role either.
    let mut roles = Injective::new();
    for tenant in &tenants {
        schemas.insert(SchemaName::of(tenant), tenant);
        roles.insert(TenantRole::of(tenant), (tenant, "traffic"));
        roles.insert(OwnerRole::of(tenant), (tenant, "owner"));
        roles.insert(MigratorRole::of(tenant), (tenant, "migrator"));
        roles.insert(TrafficLogin::of(tenant), (tenant, "traffic login"));
    }
}

#[test]
fn a_tenant_named_like_an_owner_role_would_get_that_role_and_is_refused() {
    assert!(TenantName::new("a-owner").is_err());
    let owner = OwnerRole::of(&TenantName::new("a").unwrap()).to_string();
    assert_eq!(owner, format!("tenant_{}", "a-owner".replace('-', "_")));
}

#[test]
fn names_that_differ_in_separator_or_case_never_meet() {
    let schemas: Vec<_> =
        ["a.b", "a-b", "a_b", "A_B", "A-B", "a b", "a--b", "ab", "a\u{2010}b", "a-b\0", "а-b"]
            .iter()
            .filter_map(|name| TenantName::new(name).ok())
            .map(|tenant| SchemaName::of(&tenant).to_string())
            .collect();
    assert_eq!(
        schemas,
        ["tenant_a_b", "tenant_a__b", "tenant_ab"],
        "of a-b, a--b and ab; the rest is refused"
    );
}

#[test]
fn no_short_definitions_share_a_table_an_index_or_a_key() {
    let tenants = short(&['a', '1', '-'], 3, |text| TenantName::new(text).ok());
    let apps = short(&['a', '1'], 3, |text| AppName::new(text).ok());
    let doc_types = short(&['a', '1', '_'], 3, |text| DocTypeName::new(text).ok());
    let queues = short(&['a', '1', '-'], 3, |text| QueueName::new(text).ok());
    let (mut tables, mut indexes, mut keys) = (Injective::new(), Injective::new(), Injective::new());
    for app in &apps {
        for doc_type in &doc_types {
            tables.insert(TableName::of(app, doc_type), (app, doc_type));
        }
    }
    for tenant in &tenants {
        for app in &apps {
            for doc_type in &doc_types {
                let uid = IndexUid::of(tenant, app, doc_type);
                indexes.insert(&uid, (tenant, app, doc_type, 0));
                for build in 1..3 {
                    indexes.insert(format!("{uid}-{build}"), (tenant, app, doc_type, build));
                }
            }
            for queue in &queues {
                for (sort, key) in RedisKey::all(tenant, app, queue).into_iter().enumerate() {
                    keys.insert(key, (tenant, app, queue, sort));
                }
            }
        }
    }
}

#[test]
fn no_short_tables_and_columns_share_a_relation() {
    let apps = short(&['a', '1'], 2, |text| AppName::new(text).ok());
    let doc_types = short(&['a', '1', '_'], 3, |text| DocTypeName::new(text).ok());
    let columns = short(&['a', '1', '_'], 3, |text| FieldName::new(text).ok());
    // Tables, indexes and sequences of a schema are one namespace.
    let mut relations = Injective::new();
    for app in &apps {
        for doc_type in &doc_types {
            let table = TableName::of(app, doc_type);
            relations.insert(&table, (table.clone(), None));
            for column in &columns {
                for (n, kind) in KINDS.into_iter().enumerate() {
                    let relation = RelationName::of(&table, column.as_str(), kind);
                    relations.insert(relation, (table.clone(), Some((column, n))));
                }
            }
        }
    }
}

fn tenant() -> impl Strategy<Value = TenantName> {
    "[a-z]([a-z0-9-]{0,46}[a-z0-9])?".prop_filter_map("a reserved name", |text| TenantName::new(&text).ok())
}

fn app() -> impl Strategy<Value = AppName> {
    "[a-z][a-z0-9]{0,19}".prop_filter_map("not an app", |text| AppName::new(&text).ok())
}

fn doc_type() -> impl Strategy<Value = DocTypeName> {
    "[a-z]([a-z0-9_]{0,37}[a-z0-9])?".prop_filter_map("not a type", |text| DocTypeName::new(&text).ok())
}

fn field() -> impl Strategy<Value = FieldName> {
    "[a-z]([a-z0-9_]{0,37}[a-z0-9])?".prop_filter_map("a reserved name", |text| FieldName::new(&text).ok())
}

fn queue() -> impl Strategy<Value = QueueName> {
    "[a-z]([a-z0-9-]{0,18}[a-z0-9])?".prop_filter_map("not a queue", |text| QueueName::new(&text).ok())
}

proptest! {
    #[test]
    fn a_tenant_can_be_read_back_from_its_schema(tenant in tenant()) {
        // An inverse is injectivity for names of every length.
        let schema = SchemaName::of(&tenant);
        let back = schema.as_str().strip_prefix("tenant_").map(|rest| rest.replace('_', "-"));
        prop_assert_eq!(back.as_deref(), Some(tenant.as_str()));
        let role = TenantRole::of(&tenant);
        prop_assert_eq!(role.as_str(), schema.as_str());
    }

    #[test]
    fn an_owner_role_is_nobody_s_dml_role(tenant in tenant()) {
        let (owner, schema) = (OwnerRole::of(&tenant), SchemaName::of(&tenant));
        prop_assert_eq!(owner.as_str().strip_suffix("_owner"), Some(schema.as_str()));
        let would_be = owner.as_str().strip_prefix("tenant_").unwrap_or_default().replace('_', "-");
        prop_assert!(TenantName::new(&would_be).is_err(), "{} would have the DML role {}", would_be, owner);
    }

    #[test]
    fn a_table_splits_at_the_first_underscore(app in app(), doc_type in doc_type()) {
        let table = TableName::of(&app, &doc_type);
        prop_assert_eq!(table.as_str().split_once('_'), Some((app.as_str(), doc_type.as_str())));
    }

    #[test]
    fn an_index_uid_splits_into_its_parts(tenant in tenant(), app in app(), doc_type in doc_type(), build in 1_u32..) {
        let uid = IndexUid::of(&tenant, &app, &doc_type);
        let parts: Vec<_> = uid.as_str().splitn(3, '_').collect();
        prop_assert_eq!(parts, [tenant.as_str(), app.as_str(), doc_type.as_str()]);
        let later = format!("{uid}-{build}");
        let number = build.to_string();
        let last = later.splitn(3, '_').nth(2).and_then(|last| last.split_once('-'));
        prop_assert_eq!(last, Some((doc_type.as_str(), number.as_str())));
        // Meilisearch takes at most 400 bytes of these.
        prop_assert!(later.len() <= 400 && later.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    }

    #[test]
    fn a_redis_key_splits_into_its_parts(tenant in tenant(), app in app(), queue in queue()) {
        let keys = RedisKey::all(&tenant, &app, &queue);
        let shard = RedisShard::of(&tenant).to_string();
        for (kind, key) in ["q", "z", "d"].iter().zip(&keys) {
            let parts: Vec<_> = key.as_str().split(':').collect();
            prop_assert_eq!(parts, [kind, shard.as_str(), tenant.as_str(), app.as_str(), queue.as_str()]);
        }
        // Exactly one hash tag, or a Redis Cluster would spread a tenant over its nodes.
        prop_assert_eq!(keys[0].as_str().matches(['{', '}']).count(), 2);
    }

    #[test]
    fn every_postgres_name_is_kept_whole(tenant in tenant(), app in app(), doc_type in doc_type(), field in field()) {
        let table = TableName::of(&app, &doc_type);
        let mut names = vec![
            SchemaName::of(&tenant).to_string(),
            OwnerRole::of(&tenant).to_string(),
            table.to_string(),
        ];
        names.extend(KINDS.map(|kind| RelationName::of(&table, field.as_str(), kind).to_string()));
        for name in names {
            prop_assert!(name.len() <= POSTGRES_IDENTIFIER_MAX, "{} has {} bytes", name, name.len());
        }
    }

    #[test]
    fn long_relations_of_two_columns_differ(
        app in "[a-z]{20}", doc_type in "[a-z]{39}", one in "[a-z]{36}[ab]{3}", other in "[a-z]{36}[ab]{3}"
    ) {
        prop_assume!(one != other);
        let table = TableName::of(&AppName::new(&app).unwrap(), &DocTypeName::new(&doc_type).unwrap());
        for kind in KINDS {
            prop_assert_ne!(RelationName::of(&table, &one, kind), RelationName::of(&table, &other, kind));
        }
    }

    #[test]
    fn no_name_is_made_of_arbitrary_text_with_a_separator_of_ours(text in ".*") {
        for accepted in [
            TenantName::new(&text).is_ok().then_some("_:./\"'{}"),
            AppName::new(&text).is_ok().then_some("_-:./\"'{}"),
            DocTypeName::new(&text).is_ok().then_some("-:./\"'{}"),
            QueueName::new(&text).is_ok().then_some("_:./\"'{}"),
        ].into_iter().flatten() {
            prop_assert!(!text.contains(|c: char| accepted.contains(c)) && text.is_ascii(), "{:?}", text);
        }
    }
}

#[test]
fn the_longest_names_are_legal() {
    let tenant = TenantName::new(&"t".repeat(TenantName::MAX_LEN)).unwrap();
    assert!(TenantName::new(&"t".repeat(TenantName::MAX_LEN + 1)).is_err());
    assert_eq!(SchemaName::of(&tenant).as_str().len(), 55);
    assert_eq!(OwnerRole::of(&tenant).as_str().len(), 61);
    assert_eq!(TrafficLogin::of(&tenant).as_str().len(), 63);
    let table = TableName::of(
        &AppName::new(&"a".repeat(AppName::MAX_LEN)).unwrap(),
        &DocTypeName::new(&"d".repeat(DocTypeName::MAX_LEN)).unwrap(),
    );
    assert_eq!(table.as_str().len(), 60);
}

#[test]
fn an_access_role_is_of_one_access_and_never_a_tenant_s() {
    use tenantry_crds::names::{AccessName, AccessRole, SearchKeyUid, Slot};
    let role = |tenant: &str, access: &str| {
        AccessRole::of(&TenantName::new(tenant).unwrap(), &AccessName::new(access).unwrap()).to_string()
    };
    assert_eq!(role("acme", "reporting"), role("acme", "reporting"));
    let all: std::collections::BTreeSet<String> =
        [role("a", "b-c"), role("a-b", "c"), role("ab", "c"), role("a", "bc")].into_iter().collect();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|role| role.starts_with("access_") && role.len() < 62));
    assert_eq!([1, 2, 3].map(Slot::of), [Slot::A, Slot::B, Slot::A]);
    let access = AccessName::new("site").unwrap();
    assert_ne!(SearchKeyUid::of("u", &access, 1), SearchKeyUid::of("u", &access, 2));
    assert_ne!(SearchKeyUid::of("u", &access, 1), SearchKeyUid::of("v", &access, 1));
}
