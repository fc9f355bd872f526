//! The parts of `docs/reference/conditions.md` that the types say.

use crate::{conditions::ConditionType, reason::Reason};

/// The name of a generated part, which its markers in the page have, and its text.
type Part = (&'static str, fn() -> String);

const PARTS: [Part; 2] = [("conditions", conditions), ("reasons", reasons)];

/// `page` with its generated parts as the types say them; nothing when a marker is missing.
pub fn conditions_page(page: &str) -> Option<String> {
    PARTS.iter().try_fold(page.to_owned(), |page, (name, text)| {
        let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end: {name} -->"));
        let from = page.find(&begin)? + begin.len();
        let to = from + page[from..].find(&end)?;
        Some(format!("{}\n{}\n{}", &page[..from], text(), &page[to..]))
    })
}

fn conditions() -> String {
    let mut table = "| condition | on | meaning |\n|---|---|---|\n".to_owned();
    for kind in ConditionType::ALL {
        table.push_str(&format!("| `{}` | {} | {} |\n", kind.as_str(), kind.kinds(), kind.meaning().trim()));
    }
    table
}

fn reasons() -> String {
    let section = |reason: &Reason| {
        let lines: Vec<&str> = reason.text().lines().map(str::trim).collect();
        format!("### `{reason}`\n\n{}\n", lines.join("\n"))
    };
    Reason::ALL.iter().map(section).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "Before.\n<!-- generated: conditions -->\nSTALE\n<!-- end: conditions -->\n\
                        Between.\n<!-- generated: reasons -->\n<!-- end: reasons -->\nAfter.\n";

    #[test]
    fn only_the_marked_parts_are_replaced_and_a_second_time_changes_nothing() {
        let page = conditions_page(PAGE).unwrap();
        assert!(page.starts_with("Before.\n") && page.contains("\nBetween.\n") && page.ends_with("After.\n"));
        assert!(page.contains("### `NameConflict`") && page.contains("| `Stalled` | all |"));
        assert!(!page.contains("STALE"));
        assert_eq!(conditions_page(&page).unwrap(), page);
    }

    #[test]
    fn a_page_without_its_markers_is_no_such_page() {
        assert!(conditions_page("Before.\n").is_none());
    }
}
