//! Columns that are there already.

use tenantry_crds::{
    names::{RelationKind, RelationName},
    reason::Reason,
};
use tenantry_migrations::layout::{Column, SqlType, TypeChange};

use super::{expressions::is_our_default, tables::Pair, work::Work};
use crate::backend::postgres::{
    change::ObjectChange,
    step::{Retyping, Step},
};

pub(super) fn repair(pair: &Pair<'_>, column: &Column, work: &mut Work) {
    let Some(found) = pair.have.columns.get(&column.name) else { return };
    let table = &pair.layout.table;
    let retyped = retype(pair, column, &found.sql_type, work);
    if column.not_null && !found.not_null {
        require(pair, column, work);
    }
    if !column.not_null {
        let required = RelationName::of(table, &column.name, RelationKind::Required);
        if found.not_null {
            work.objects.push(ObjectChange::DropNotNull(table.clone(), column.name.clone()));
        } else if pair.have.constraints.contains_key(required.as_str()) {
            work.objects.push(ObjectChange::DropConstraint(table.clone(), required));
        }
    }
    // One that no definition can have made is put back; which of ours it is, the version tells.
    let ours = found.default.as_deref().is_none_or(is_our_default);
    let differs = !ours || column.default.is_some() != found.default.is_some();
    let renewed = pair.new_version && Pair::is_of_a_field(column) && column.default.is_some();
    // A change of type brings its default along.
    let change = || ObjectChange::SetDefault(table.clone(), column.clone());
    if !retyped && differs {
        work.objects.push(change());
    } else if !retyped && renewed {
        work.renew(pair.app, change());
    }
}

/// The column must have a value in every row.
pub(super) fn require(pair: &Pair<'_>, column: &Column, work: &mut Work) {
    let table = pair.layout.table.clone();
    if pair.empty {
        work.objects.push(ObjectChange::SetNotNull(table, column.name.clone()));
    } else {
        work.step(pair.app, Step::Require(table, column.clone()));
    }
}

/// Whether the column gets another type.
fn retype(pair: &Pair<'_>, column: &Column, found: &str, work: &mut Work) -> bool {
    let table = &pair.layout.table;
    let from = SqlType::parse(found);
    let change = from.map_or(TypeChange::Impossible, |from| from.change_to(column.sql_type));
    if change == TypeChange::None {
        return false;
    }
    let key = RelationName::of(table, &column.name, RelationKind::ForeignKey);
    let refers = pair.have.constraints.contains_key(key.as_str())
        || pair.layout.foreign_keys.iter().any(|key| key.column == column.name);
    let (Some(from), false, false, true) =
        (from, refers, change == TypeChange::Impossible, Pair::is_of_a_field(column))
    else {
        let what = format!(
            "{table}.{} is {found} and the definition asks for {}; keep the type, or add a field with another name",
            column.name, column.sql_type
        );
        work.refuse(Reason::DestructiveChangeBlocked, what);
        return true;
    };
    let rewrites = change != TypeChange::Widens;
    let retyping = Retyping { table: table.clone(), column: column.clone(), from, rewrites };
    if change != TypeChange::Narrows {
        work.step(pair.app, Step::Widen(retyping));
    } else if pair.is_narrowing_allowed(column) {
        work.step(pair.app, Step::Narrow(retyping));
    } else {
        let what = format!("{table}.{} is {found} and {} takes fewer values", column.name, column.sql_type);
        work.refuse_narrowing(pair, column, &what);
    }
    true
}
