//! What a pass would do, for `tenantry.dev/plan: "true"`. Reads only.

use tenantry_crds::v1alpha1::{PlanStatus, Tenant, TenantStatus};
use tenantry_migrations::logins::LoginShard;

use super::{
    converge::{compose, plan_knowing_rows},
    identity,
    plan::{self, Around, Plan},
    search::{self, Work},
};
use crate::{
    backend::postgres::{change::Identity, ddl, observe, step::Step},
    context::Context,
    driver::Pass,
    error::{Class, Error},
    placement,
};

/// Bytes of statements in a status; an object has 1.5 MB in all, and every watcher carries it.
const ROOM: usize = 32 * 1024;

/// Puts the plan into the status.
///
/// # Errors
/// When a backend does not answer. What stands in the way of the change is part of the plan.
pub async fn preview(object: &Tenant, ctx: &Context, pass: &mut Pass<TenantStatus>) -> Result<(), Error> {
    let plan = match look(object, ctx).await {
        Ok(plan) => plan,
        Err(error) if matches!(error.class(), Class::Blocked | Class::Invalid) => {
            PlanStatus { problem: Some(error.to_string()), ..PlanStatus::default() }
        }
        Err(error) => return Err(error),
    };
    pass.status.plan = Some(plan);
    Ok(())
}

async fn look(object: &Tenant, ctx: &Context) -> Result<PlanStatus, Error> {
    let tenant = identity(object)?;
    let placed = placement::resolve(object, ctx).await?;
    let cell = placed.cell;
    let observed = observe::observe(cell.database(), &tenant, &object.spec.hosts).await?;
    plan::refuse_foreign_objects(&tenant, &observed)?;
    let desired = compose(object, ctx, &tenant, &placed.placement)?;
    let mut others = Vec::new();
    for stream in &desired.streams {
        if !observed.streams.iter().any(|have| have.stream_key == stream.key.as_str()) {
            others.push(format!("make the stream {}", stream.key));
        }
    }
    let searches = search::work(&desired, &observed.searches);
    others.extend(searches.iter().filter_map(|work| match work {
        Work::Claim(row) => Some(format!("make the search index {}", row.index)),
        Work::Configure(row) => Some(format!("configure the search index {}", row.index)),
        Work::Remove(key) => Some(format!("remove the search index {}", key.index)),
        Work::Verify(_) => None,
    }));
    let absent_indexes = desired.searches.iter().map(|row| row.index.to_string()).collect();
    let around = Around { streams_in_place: true, absent_indexes, ..Around::default() };
    // A shard is reserved by a pass that makes something; its number in the text is the first.
    let shard = observed.shard().unwrap_or(LoginShard::new(0));
    let plan = plan_knowing_rows(cell, &desired, &observed, shard, around).await?;
    Ok(told(&tenant, &plan, others))
}

/// The plan in words and SQL, within bounds.
fn told(tenant: &Identity, plan: &Plan, others: Vec<String>) -> PlanStatus {
    let mut statements =
        if plan.changes.is_empty() { Vec::new() } else { ddl::statements(tenant, &plan.changes) };
    for step in &plan.steps {
        statements.extend(in_sql(tenant, step));
    }
    if plan.drops_follow {
        statements.push(
            "-- then, once no replica serves the version before: what spec.allowDestructive names".to_owned(),
        );
    }
    let mut room = ROOM;
    let fitting = statements.iter().take_while(|statement| {
        let fits = statement.len() <= room;
        room = room.saturating_sub(statement.len());
        fits
    });
    let shown = fitting.count();
    let left_out = statements.len() - shown;
    statements.truncate(shown);
    PlanStatus {
        sql: statements,
        others,
        problem: None,
        left_out: i64::try_from(left_out).ok().filter(|number| *number > 0),
    }
}

fn in_sql(tenant: &Identity, step: &Step) -> Vec<String> {
    if let Step::Migrate(app, migration) = step {
        let (name, checksum) = (&migration.name, &migration.checksum);
        return vec![format!("-- migration {app}/{name}, sha256 {checksum}")];
    }
    let probe = step.probe(tenant).map(|probe| format!("-- only if this is 0: {}", probe.sql));
    let statements = step.statements(tenant).into_iter().map(|statement| statement.sql);
    probe.into_iter().chain(statements).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::postgres::observe::Observed,
        tenant::fixtures::{SHARD, crm, desired},
    };

    fn new_tenant() -> (Identity, Plan) {
        let desired = desired(Some(&crm()));
        let plan = plan::plan(&desired, &Observed::default(), SHARD, &Around::default()).unwrap();
        (desired.tenant, plan)
    }

    #[test]
    fn a_plan_is_statements_without_the_fence() {
        let (tenant, plan) = new_tenant();
        let told = told(&tenant, &plan, vec!["make the stream x".into()]);
        assert_eq!(told.left_out, None);
        assert!(told.sql.iter().any(|sql| sql.starts_with("CREATE TABLE \"tenant_acme\".\"crm_customer\"")));
        assert!(told.sql.iter().all(|sql| !sql.contains("fence") && !sql.ends_with(';')), "{:?}", told.sql);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (tenant, mut plan) = new_tenant();
        let whole = told(&tenant, &plan, vec![]).sql.len();
        for _ in 0..50 {
            let more = plan.changes.objects.clone();
            plan.changes.objects.extend(more.into_iter().take(40));
        }
        let told = told(&tenant, &plan, vec![]);
        assert!(told.sql.iter().map(String::len).sum::<usize>() <= ROOM);
        assert!(told.left_out.unwrap() > 0 && told.sql.len() > whole);
    }
}
