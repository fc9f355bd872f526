//! A row rule as people write it.

use tenantry_crds::{
    definition::{Comparison, Operand, RowRule},
    v1alpha1::Operator,
};

/// `rule` in words: `status in (open, won) and (created_by = @user or due > @now)`.
pub(super) fn text(rule: &RowRule) -> String {
    match rule {
        RowRule::All(rules) if rules.is_empty() => "every document".to_owned(),
        RowRule::All(rules) => several(rules, " and "),
        RowRule::Any(rules) => several(rules, " or "),
        RowRule::Compare(comparison) => compare(comparison),
    }
}

fn several(rules: &[RowRule], between: &str) -> String {
    let part = |rule: &RowRule| match rule {
        RowRule::Compare(comparison) => compare(comparison),
        nested => format!("({})", text(nested)),
    };
    match rules {
        [one] => text(one),
        rules => rules.iter().map(part).collect::<Vec<_>>().join(between),
    }
}

fn compare(Comparison { column, operator, operands }: &Comparison) -> String {
    let operands: Vec<String> = operands
        .iter()
        .map(|operand| match operand {
            Operand::User => "@user".to_owned(),
            Operand::Now => "@now".to_owned(),
            Operand::Claim(name) => format!("@claims.{name}"),
            Operand::Literal(text) => text.clone(),
        })
        .collect();
    let list = operands.join(", ");
    match operator {
        Operator::Eq => format!("{column} = {list}"),
        Operator::Neq => format!("{column} != {list}"),
        Operator::Gt => format!("{column} > {list}"),
        Operator::Gte => format!("{column} >= {list}"),
        Operator::Lt => format!("{column} < {list}"),
        Operator::Lte => format!("{column} <= {list}"),
        Operator::In => format!("{column} in ({list})"),
        Operator::NotIn => format!("{column} not in ({list})"),
        Operator::IsNull => format!("{column} is null"),
        Operator::NotNull => format!("{column} is not null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(column: &str, operator: Operator, operands: Vec<Operand>) -> RowRule {
        RowRule::Compare(Comparison { column: column.into(), operator, operands })
    }

    #[test]
    fn a_rule_reads_as_a_sentence() {
        let stage = compare(
            "stage",
            Operator::In,
            vec![Operand::Literal("open".into()), Operand::Literal("won".into())],
        );
        let own = compare("created_by", Operator::Eq, vec![Operand::User]);
        let due = compare("due", Operator::Gt, vec![Operand::Now]);
        let rule = RowRule::All(vec![stage, RowRule::Any(vec![own, due])]);
        assert_eq!(text(&rule), "stage in (open, won) and (created_by = @user or due > @now)");
        assert_eq!(text(&RowRule::everything()), "every document");
        assert_eq!(text(&RowRule::All(vec![RowRule::All(vec![])])), "every document");
    }
}
