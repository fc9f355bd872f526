use super::Metrics;

const PAGE: &str = include_str!("../../../docs/reference/metrics.md");

#[test]
fn every_metric_is_documented_with_its_labels() {
    let metrics = Metrics::new().unwrap();
    assert!(metrics.families.described.len() >= 15);
    for (name, labels) in &metrics.families.described {
        let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} has no row in docs/reference/metrics.md"));
        let expected: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let found = row.split('|').nth(2).unwrap().trim();
        let mut found: Vec<&str> = found.split(", ").filter(|label| !label.is_empty()).collect();
        found.sort_unstable();
        let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn no_label_is_a_tenant() {
    for (name, labels) in Metrics::new().unwrap().families.described {
        assert!(!labels.iter().any(|label| label.contains("tenant")), "{name} {labels:?}");
    }
}
