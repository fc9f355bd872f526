//! The rules. Pure: they see the object before and after a write, as JSON.

use serde_json::Value;
use tenantry_crds::conditions::ConditionType;
use tenantry_crds::reason::Reason;

/// The same bound that the operator cuts at.
const MESSAGE_MAX_BYTES: usize = 1024;
/// Why nobody looked.
const UNTOUCHED: [&str; 2] = [Reason::Paused.as_str(), Reason::PlanOnly.as_str()];
/// Those that kstatus itself reads.
const SUMMARY: [&str; 3] = ["Ready", "Reconciling", "Stalled"];

/// What kstatus makes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Computed {
    /// It is what it should be.
    Current,
    /// Not yet, and nobody has to act.
    InProgress,
    /// Not, and somebody has to act.
    Failed,
    /// It is being deleted.
    Terminating,
}

/// kstatus' algorithm for a kind it does not know: the generation first, then the first of the standard conditions that
/// decides, in the order of the list.
pub fn compute(object: &Value) -> Computed {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return Computed::Terminating;
    }
    let observed = &object["status"]["observedGeneration"];
    if observed.is_i64() && *observed != object["metadata"]["generation"] {
        return Computed::InProgress;
    }
    let decided = conditions(object).iter().find_map(|condition| {
        match (text(condition, "type"), text(condition, "status")) {
            ("Reconciling", "True") => Some(Computed::InProgress),
            ("Stalled", "True") => Some(Computed::Failed),
            _ => None,
        }
    });
    decided.unwrap_or_else(|| match status_of(object, "Ready") {
        Some("False" | "Unknown") => Computed::InProgress,
        _ => Computed::Current,
    })
}

/// What is wrong with the status of `after`, alone and as the successor of `before` (the same object, one write earlier).
pub fn violations(before: Option<&Value>, after: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    generations(after, &mut wrong);
    for condition in conditions(after) {
        each(after, condition, &mut wrong);
    }
    together(after, &mut wrong);
    let same = |before: &&Value| before["metadata"]["uid"] == after["metadata"]["uid"];
    if let Some(before) = before.filter(same) {
        transition(before, after, &mut wrong);
    }
    wrong
}

fn generations(object: &Value, wrong: &mut Vec<String>) {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    match object["status"]["observedGeneration"].as_i64() {
        None => wrong.push("status.observedGeneration is absent, so kstatus would not compare it".to_owned()),
        Some(-1) if !conditions(object).is_empty() => {
            wrong.push("there are conditions of a generation that nobody observed".to_owned());
        }
        Some(-1) => {}
        Some(observed) if observed > generation || observed < 1 => {
            wrong.push(format!("observedGeneration {observed} of generation {generation}"));
        }
        Some(_) if status_of(object, "Ready").is_none() => {
            wrong.push("observed, and without a Ready condition, so kstatus would say Current".to_owned());
        }
        Some(_) => {}
    }
}

fn each(object: &Value, condition: &Value, wrong: &mut Vec<String>) {
    let kind = text(condition, "type");
    let mut say = |what: String| wrong.push(format!("condition {kind}: {what}"));
    if ConditionType::ALL.iter().all(|known| known.as_str() != kind) {
        say("is not a documented type".to_owned());
    }
    if conditions(object).iter().filter(|other| text(other, "type") == kind).count() > 1 {
        say("is there more than once".to_owned());
    }
    let reason = text(condition, "reason");
    if Reason::ALL.iter().all(|known| known.as_str() != reason) {
        say(format!("reason {reason:?} is not one of the closed set"));
    }
    let message = text(condition, "message");
    if message.trim().is_empty() || message.len() > MESSAGE_MAX_BYTES {
        say(format!("a message of {} bytes", message.len()));
    }
    let (of, observed) =
        (condition["observedGeneration"].as_i64(), object["status"]["observedGeneration"].as_i64());
    // Only what nobody looked at again, as while an object is paused, may speak of an earlier generation.
    if of.is_none() || of > observed || (SUMMARY.contains(&kind) && of != observed) {
        say(format!("speaks of generation {of:?} in a status of generation {observed:?}"));
    }
    if matches!(kind, "Reconciling" | "Stalled") && text(condition, "status") != "True" {
        say("abnormal-true, so it is there only while it is True".to_owned());
    }
}

fn together(object: &Value, wrong: &mut Vec<String>) {
    let (ready, reconciling, stalled) =
        (status_of(object, "Ready"), status_of(object, "Reconciling"), status_of(object, "Stalled"));
    if reconciling.is_some() && stalled.is_some() {
        wrong.push("Reconciling and Stalled together: kstatus takes whichever comes first".to_owned());
    }
    let abnormal = reconciling.is_some() || stalled.is_some();
    match ready {
        Some("True") => {
            let not_true = conditions(object)
                .iter()
                .find(|condition| text(condition, "status") != "True" || abnormal)
                .map(|condition| text(condition, "type"));
            if let Some(kind) = not_true {
                wrong.push(format!("Ready while {kind} says otherwise"));
            }
        }
        Some("False") if !abnormal => {
            wrong.push(
                "not Ready, and neither Reconciling nor Stalled: nobody knows whom it waits for".to_owned(),
            );
        }
        Some("Unknown") if !reason_of(object, "Ready").is_some_and(|reason| UNTOUCHED.contains(&reason)) => {
            wrong.push("Ready is Unknown, which only an object that nobody touches may be".to_owned());
        }
        _ => {}
    }
}

fn transition(before: &Value, after: &Value, wrong: &mut Vec<String>) {
    let observed = |object: &Value| object["status"]["observedGeneration"].as_i64();
    if observed(after) < observed(before) {
        wrong.push(format!(
            "observedGeneration went back from {:?} to {:?}",
            observed(before),
            observed(after)
        ));
    }
    for now in conditions(after) {
        let kind = text(now, "type");
        let Some(was) = conditions(before).iter().find(|was| text(was, "type") == kind) else { continue };
        let (old, new) = (text(was, "lastTransitionTime"), text(now, "lastTransitionTime"));
        let flipped = text(was, "status") != text(now, "status");
        // RFC 3339 in UTC with seconds: the order of the texts is the order of the times.
        if new < old {
            wrong.push(format!("condition {kind}: lastTransitionTime went back from {old} to {new}"));
        } else if new != old && !flipped {
            wrong.push(format!("condition {kind}: lastTransitionTime moved and the status did not flip"));
        }
    }
}

fn conditions(object: &Value) -> &[Value] {
    object["status"]["conditions"].as_array().map_or(&[], Vec::as_slice)
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions(object).iter().find(|condition| text(condition, "type") == kind)
}

fn status_of<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    condition(object, kind).map(|condition| text(condition, "status"))
}

fn reason_of<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    condition(object, kind).map(|condition| text(condition, "reason"))
}

fn text<'a>(condition: &'a Value, key: &str) -> &'a str {
    condition[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(generation: i64, observed: i64, conditions: &[(&str, &str, &str)]) -> Value {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, status, reason)| {
                json!({"type": kind, "status": status, "reason": reason, "message": "so it is",
                       "observedGeneration": observed, "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        json!({"metadata": {"uid": "u", "generation": generation},
               "status": {"observedGeneration": observed, "conditions": conditions}})
    }

    const READY: (&str, &str, &str) = ("Ready", "True", "Succeeded");
    const NOT_READY: (&str, &str, &str) = ("Ready", "False", "Progressing");
    const RECONCILING: (&str, &str, &str) = ("Reconciling", "True", "Progressing");
    const STALLED: (&str, &str, &str) = ("Stalled", "True", "InvalidSpec");

    #[test]
    fn computes_as_kstatus_does() {
        assert_eq!(compute(&object(1, -1, &[])), Computed::InProgress);
        assert_eq!(compute(&object(2, 1, &[READY])), Computed::InProgress);
        assert_eq!(compute(&object(1, 1, &[READY])), Computed::Current);
        assert_eq!(compute(&object(1, 1, &[NOT_READY, RECONCILING])), Computed::InProgress);
        assert_eq!(compute(&object(1, 1, &[NOT_READY, STALLED])), Computed::Failed);
        assert_eq!(compute(&object(1, 1, &[NOT_READY])), Computed::InProgress);
        let mut going = object(1, 1, &[READY]);
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(compute(&going), Computed::Terminating);
        assert_eq!(
            compute(&json!({"metadata": {"generation": 1}})),
            Computed::Current,
            "why -1 is the default"
        );
    }

    #[test]
    fn what_the_operator_writes_violates_nothing() {
        for conditions in [
            &[READY][..],
            &[NOT_READY, RECONCILING],
            &[NOT_READY, STALLED],
            &[("Ready", "Unknown", "Paused")],
        ] {
            assert_eq!(violations(None, &object(3, 3, conditions)), [""; 0], "{conditions:?}");
        }
        assert_eq!(violations(None, &object(1, -1, &[])), [""; 0]);
        assert_eq!(violations(None, &object(2, 1, &[READY])), [""; 0], "not seen yet");
    }

    #[test]
    fn every_rule_is_told_when_it_is_broken() {
        let broken = |object: &Value, part: &str| {
            let found = violations(None, object);
            assert!(found.iter().any(|found| found.contains(part)), "{part} in {found:?}");
        };
        broken(&json!({"metadata": {"generation": 1}}), "absent");
        broken(&object(1, 2, &[READY]), "observedGeneration 2 of generation 1");
        broken(&object(1, -1, &[READY]), "nobody observed");
        broken(&object(1, 1, &[]), "without a Ready condition");
        broken(&object(1, 1, &[NOT_READY, RECONCILING, STALLED]), "together");
        broken(&object(1, 1, &[READY, RECONCILING]), "Ready while");
        broken(
            &object(1, 1, &[READY, ("DatabaseReady", "False", "Progressing")]),
            "DatabaseReady says otherwise",
        );
        broken(&object(1, 1, &[NOT_READY]), "nobody knows whom it waits for");
        broken(&object(1, 1, &[("Ready", "Unknown", "Succeeded")]), "nobody touches");
        broken(&object(1, 1, &[READY, READY]), "more than once");
        broken(&object(1, 1, &[("Ready", "True", "Whatever")]), "closed set");
        broken(&object(1, 1, &[READY, ("Healthy", "True", "Succeeded")]), "documented type");
        broken(&object(1, 1, &[NOT_READY, RECONCILING, ("Stalled", "False", "Succeeded")]), "abnormal-true");
        for message in ["", " ", &"x".repeat(1025)] {
            let mut said = object(1, 1, &[READY]);
            said["status"]["conditions"][0]["message"] = json!(message);
            broken(&said, "a message of");
        }
        let mut old = object(2, 2, &[READY]);
        old["status"]["conditions"][0]["observedGeneration"] = json!(1);
        broken(&old, "speaks of generation");
    }

    #[test]
    fn the_transition_time_moves_with_the_status_and_only_forward() {
        let at = |time: &str, condition| {
            let mut object = object(1, 1, &[condition, RECONCILING]);
            object["status"]["conditions"][0]["lastTransitionTime"] = json!(time);
            object
        };
        let (before, other) = (at("2026-01-01T00:00:01Z", NOT_READY), at("2026-01-01T00:00:02Z", NOT_READY));
        assert_eq!(violations(Some(&before), &before), [""; 0]);
        assert!(violations(Some(&before), &other)[0].contains("did not flip"));
        assert!(violations(Some(&other), &before)[0].contains("went back"));
        let mut another = other.clone();
        another["metadata"]["uid"] = json!("v");
        assert_eq!(violations(Some(&before), &another), [""; 0], "made again under the name");
        assert!(
            violations(Some(&object(2, 2, &[READY])), &object(2, 1, &[READY]))
                .iter()
                .any(|found| found.contains("observedGeneration went back"))
        );
    }
}
