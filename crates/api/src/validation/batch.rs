//! Jobs and cron jobs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::at::{At, same};
use super::{format, labels, number, pod};
use crate::field::{Error, ErrorKind, ErrorList, Path};

/// Pods of an indexed job that may run at once, and indexes that may fail.
const MAX_INDEXED: i64 = 100_000;
/// Beyond [`MAX_INDEXED`] completions a job with a limit per index may run, and lose, only so many.
const MAX_HIGH: i64 = 10_000;
/// Rules of a failure or success policy, and patterns of a rule.
const MAX_RULES: usize = 20;
/// Exit codes of a rule.
const MAX_CODES: usize = 255;
/// The longest `managedBy`, in bytes.
const MAX_MANAGED_BY: usize = 63;
/// The longest name of a cron job: its jobs append eleven bytes.
const MAX_CRON_NAME: usize = 52;

fn bare(path: &Path, why: &str) -> Error {
    Error { kind: ErrorKind::Invalid, field: path.clone(), message: format!("Invalid value: {why}") }
}

pub(super) fn job(o: &At<'_, '_>, errs: &mut ErrorList) {
    let (spec, metadata) = (o.get("spec"), o.get("metadata"));
    generated_selector(o, errs);
    job_spec_with_selector(&spec, errs);
    let completions = spec.get("completions").int().unwrap_or(0);
    if spec.get("completionMode").str() == "Indexed" && completions > 0 {
        let name = metadata.get("name");
        let longest = format!("{}-{}", name.str(), completions - 1);
        if !format::label_1123(&longest).is_empty() {
            name.invalid(errs, &format!("will not able to create pod with invalid DNS label: {longest}"));
        }
    }
}

/// Unless told otherwise a job selects its pods by its own UID, so that no two jobs fight over pods.
fn generated_selector(o: &At<'_, '_>, errs: &mut ErrorList) {
    let (spec, metadata) = (o.get("spec"), o.get("metadata"));
    let selector = spec.get("selector");
    if spec.get("manualSelector").is_true() || !selector.is_set() {
        return;
    }
    let (uid, name) = (metadata.get("uid"), metadata.get("name").str());
    if uid.is_empty() {
        uid.required(errs, "");
    }
    let template = spec.get("template");
    let template = template.get("metadata");
    let own = template.get("labels");
    let mut expected = serde_json::Map::new();
    for (key, wanted) in [
        ("controller-uid", uid.str()),
        ("job-name", name),
        ("batch.kubernetes.io/controller-uid", uid.str()),
        ("batch.kubernetes.io/job-name", name),
    ] {
        expected.insert(key.to_owned(), wanted.into());
        match own.value().get(key).and_then(Value::as_str) {
            None => errs.push(Error::required(&own.path().key(key), &format!("must be '{wanted}'"))),
            Some(actual) if actual != wanted => {
                errs.push(Error::invalid(&own.path().key(key), own.value().clone(), &format!("must be '{wanted}'")));
            }
            Some(_) => {}
        }
    }
    if !labels::matches(&selector, &Value::Object(expected)) {
        selector.invalid(errs, "`selector` not auto-generated");
    }
}

fn job_spec_with_selector(spec: &At<'_, '_>, errs: &mut ErrorList) {
    job_spec(spec, errs);
    let selector = spec.get("selector");
    if !selector.is_set() {
        return selector.required(errs, "");
    }
    labels::selector(&selector, errs);
    let template = spec.get("template");
    let metadata = template.get("metadata");
    let own = metadata.get("labels");
    if !labels::matches(&selector, own.value()) {
        own.invalid(errs, "`selector` does not match template `labels`");
    }
}

fn job_spec(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let fields = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    number::counters(spec, &fields, errs);
    let (per_index, max_failed) = (spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"));
    if max_failed.is_set() && !per_index.is_set() {
        per_index.required(errs, "when maxFailedIndexes is specified");
    }
    let manager = spec.get("managedBy");
    if manager.is_set() {
        if let Some(why) = format::domain_prefixed(manager.str()) {
            manager.invalid_str(errs, why);
        }
        if manager.str().len() > MAX_MANAGED_BY {
            manager.too_long(errs, MAX_MANAGED_BY);
        }
    }
    let mode = spec.get("completionMode");
    if mode.is_set() {
        mode.one_of(errs, &["Indexed", "NonIndexed"]);
    }
    let indexed = mode.str() == "Indexed";
    if indexed {
        indexed_limits(spec, errs);
    } else if mode.str() == "NonIndexed" || !mode.is_set() {
        for at in [per_index, max_failed].iter().filter(|at| at.is_set()) {
            at.invalid(errs, "requires indexed completion mode");
        }
    }
    let (failure, success) = (spec.get("podFailurePolicy"), spec.get("successPolicy"));
    if failure.is_set() {
        failure_policy(spec, &failure, errs);
    }
    if success.is_set() {
        if indexed {
            success_policy(spec, &success, errs);
        } else {
            success.invalid(errs, "requires indexed completion mode");
        }
    }
    let replace = spec.get("podReplacementPolicy");
    if replace.is_set() {
        replace.one_of(errs, if failure.is_set() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] });
    }
    pod::template(&spec.get("template"), errs);
    let template = spec.get("template");
    let template = template.get("spec");
    let restart = template.get("restartPolicy");
    match restart.str() {
        "Always" | "" => restart.required(errs, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if failure.is_set() => restart.invalid(errs, "only \"Never\" is supported when podFailurePolicy is specified"),
        _ => restart.one_of(errs, &["Never", "OnFailure"]),
    }
}

fn indexed_limits(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let (completions, parallelism, failed) = (spec.get("completions"), spec.get("parallelism"), spec.get("maxFailedIndexes"));
    if !completions.is_set() {
        completions.required(errs, "when completion mode is Indexed");
    }
    let over = |at: &At<'_, '_>, most: i64| at.int().is_some_and(|n| n > most);
    if over(&parallelism, MAX_INDEXED) {
        parallelism.invalid(errs, &format!("must be less than or equal to {MAX_INDEXED} when completion mode is Indexed"));
    }
    if completions.int().is_some_and(|c| over(&failed, c)) {
        failed.invalid(errs, "must be less than or equal to completions");
    }
    if over(&failed, MAX_INDEXED) {
        failed.invalid(errs, &format!("must be less than or equal to {MAX_INDEXED}"));
    }
    if over(&completions, MAX_INDEXED) && spec.get("backoffLimitPerIndex").is_set() {
        if !failed.is_set() {
            failed.required(errs, &format!("must be specified when completions is above {MAX_INDEXED}"));
        }
        let why = format!(
            "must be less than or equal to {MAX_HIGH} when completions are above {MAX_INDEXED} and used with backoff limit per index"
        );
        for at in [&parallelism, &failed].iter().filter(|at| over(at, MAX_HIGH)) {
            at.invalid(errs, &why);
        }
    }
}

fn failure_policy(spec: &At<'_, '_>, policy: &At<'_, '_>, errs: &mut ErrorList) {
    let rules = policy.get("rules");
    if rules.len() > MAX_RULES {
        errs.push(Error::too_many(&rules.path(), rules.len(), MAX_RULES));
    }
    let template = spec.get("template");
    let pod_spec = template.get("spec");
    let names: BTreeSet<String> = ["containers", "initContainers"]
        .iter()
        .flat_map(|l| pod_spec.get(l).items().map(|c| c.get("name").str().to_owned()).collect::<Vec<_>>())
        .collect();
    for rule in rules.items() {
        let (action, codes, conditions) = (rule.get("action"), rule.get("onExitCodes"), rule.get("onPodConditions"));
        if action.str() == "FailIndex" && !spec.get("backoffLimitPerIndex").is_set() {
            action.invalid(errs, "requires the backoffLimitPerIndex to be set");
        }
        let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
        action.required_one_of(errs, &actions, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
        if codes.is_set() {
            exit_codes(&codes, &names, errs);
        }
        if conditions.len() > MAX_RULES {
            errs.push(Error::too_many(&conditions.path(), conditions.len(), MAX_RULES));
        }
        for pattern in conditions.items() {
            let kind = pattern.get("type");
            kind.complain(errs, format::qualified_name(kind.str()));
            pattern.get("status").required_one_of(errs, &["False", "True", "Unknown"], "valid values: [\"False\" \"True\" \"Unknown\"]");
        }
        match (codes.is_set(), !conditions.is_empty()) {
            (true, true) => errs.push(bare(&rule.path(), "specifying both OnExitCodes and OnPodConditions is not supported")),
            (false, false) => errs.push(bare(&rule.path(), "specifying one of OnExitCodes and OnPodConditions is required")),
            _ => {}
        }
    }
}

fn exit_codes(at: &At<'_, '_>, names: &BTreeSet<String>, errs: &mut ErrorList) {
    let (operator, container, values) = (at.get("operator"), at.get("containerName"), at.get("values"));
    operator.required_one_of(errs, &["In", "NotIn"], "valid values: [\"In\" \"NotIn\"]");
    if container.is_set() && !names.contains(container.str()) {
        container.invalid(errs, "must be one of the container or initContainer names in the pod template");
    }
    if values.is_empty() {
        values.invalid(errs, "at least one value is required");
    } else if values.len() > MAX_CODES {
        errs.push(Error::too_many(&values.path(), values.len(), MAX_CODES));
    }
    let mut seen = BTreeSet::new();
    for value in values.items() {
        if operator.str() == "In" && value.int() == Some(0) {
            value.invalid(errs, "must not be 0 for the In operator");
        }
        if !seen.insert(value.int()) {
            value.duplicate(errs);
        }
    }
    let all: Vec<_> = values.items().map(|v| v.int()).collect();
    if !all.is_sorted() {
        values.invalid(errs, "must be ordered");
    }
}

fn success_policy(spec: &At<'_, '_>, policy: &At<'_, '_>, errs: &mut ErrorList) {
    let rules = policy.get("rules");
    if rules.is_empty() {
        rules.required(errs, "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > MAX_RULES {
        errs.push(Error::too_many(&rules.path(), rules.len(), MAX_RULES));
    }
    let completions = spec.get("completions").int().unwrap_or(0);
    for rule in rules.items() {
        let (count, indexes) = (rule.get("succeededCount"), rule.get("succeededIndexes"));
        if !count.is_set() && !indexes.is_set() {
            rule.required(errs, "at least one of succeededCount or succeededIndexes must be specified");
        }
        let total = indexes.is_set().then(|| index_count(indexes.str(), completions));
        if let Some(Err(why)) = &total {
            indexes.invalid_str(errs, &format!("error parsing succeededIndexes: {why}"));
        }
        count.not_negative(errs);
        let wanted = count.int().unwrap_or(0);
        if wanted > completions {
            count.invalid(errs, &format!("must be less than or equal to {completions} (the number of specified completions)"));
        }
        if let Some(Ok(total)) = total
            && wanted > total
        {
            let why = format!("must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)");
            count.invalid(errs, &why);
        }
    }
}

/// How many indexes a text such as `1,3-5` names; they must grow and stay below `completions`.
fn index_count(text: &str, completions: i64) -> Result<i64, String> {
    let mut last = -1;
    let mut total = 0_i64;
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let parse = |n: &str| n.parse::<i64>().map_err(|_| format!("cannot convert string to integer for index: {n:?}"));
        let (from, to) = (parse(from)?, parse(to)?);
        if to < from || (part.contains('-') && to == from) || from <= last {
            return Err(format!("non-increasing order, previous: {last}, current: {from}"));
        }
        if to >= completions {
            return Err(format!("too large index: {part:?}"));
        }
        last = to;
        total += to - from + 1;
    }
    Ok(total)
}

pub(super) fn job_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    job_spec_with_selector(&spec, errs);
    let completions = spec.get("completions");
    if spec.get("completionMode").str() != "Indexed" {
        completions.immutable(&before.get("completions"), errs);
    } else if completions.is_set()
        && completions.int() != before.get("completions").int()
        && completions.int() != spec.get("parallelism").int()
    {
        completions.invalid(errs, "can only be modified in tandem with spec.parallelism");
    }
    spec.get("selector").immutable(&before.get("selector"), errs);
    let allowed = movable_template(new, old);
    if !same(&allowed, before.get("template").value()) {
        spec.get("template").invalid(errs, "field is immutable");
    }
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        spec.get(field).immutable(&before.get(field), errs);
    }
}

/// The new template with the old values of what may change: while a job is suspended and has not started, where its pods run.
fn movable_template(new: &At<'_, '_>, old: &At<'_, '_>) -> Value {
    let (spec, before, status) = (new.get("spec"), old.get("spec"), old.get("status"));
    let mut template = spec.get("template").value().clone();
    let was = before.get("template").value();
    if !before.get("suspend").is_true() {
        return template;
    }
    let mut put_back = |pointer: &str, key: &str| {
        let old = was.pointer(pointer).and_then(|o| o.get(key)).cloned().unwrap_or(Value::Null);
        if let Some(fields) = template.pointer_mut(pointer).and_then(Value::as_object_mut) {
            fields.insert(key.to_owned(), old);
        }
    };
    if !status.get("startTime").is_set() {
        for key in ["nodeSelector", "tolerations", "schedulingGates"] {
            put_back("/spec", key);
        }
        put_back("/spec/affinity", "nodeAffinity");
        put_back("/metadata", "labels");
        put_back("/metadata", "annotations");
    }
    template
}

pub(super) fn job_status(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let (status, before) = (new.get("status"), old.get("status"));
    number::counters(&status, &["active", "succeeded", "failed", "ready", "terminating"], errs);
    let is =
        |s: &At<'_, '_>, kind: &str| s.get("conditions").items().any(|c| c.get("type").str() == kind && c.get("status").str() == "True");
    let conditions = status.get("conditions").path();
    for (a, b, why) in [
        ("Complete", "Failed", "cannot set Complete=True and Failed=true conditions"),
        ("Complete", "FailureTarget", "cannot set Complete=True and FailureTarget=true conditions"),
        ("SuccessCriteriaMet", "Failed", "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        ("SuccessCriteriaMet", "FailureTarget", "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
    ] {
        if is(&status, a) && is(&status, b) {
            errs.push(bare(&conditions, why));
        }
    }
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if is(&before, kind) && !is(&status, kind) {
            errs.push(bare(&conditions, &format!("cannot disable the terminal {kind}=True condition")));
        }
    }
    let completion = status.get("completionTime");
    let complete = is(&status, "Complete");
    if completion.is_set() && !complete {
        completion.invalid(errs, "cannot set completionTime when there is no Complete=True condition");
    }
    if complete && !completion.is_set() {
        completion.required(errs, "completionTime is required for Complete jobs");
    }
    if (complete || is(&status, "Failed")) && status.get("active").int().unwrap_or(0) > 0 {
        status.get("active").invalid(errs, "active>0 is invalid for finished job");
    }
}

pub(super) fn cron_job(o: &At<'_, '_>, errs: &mut ErrorList) {
    cron_spec(&o.get("spec"), None, errs);
    let metadata = o.get("metadata");
    let name = metadata.get("name");
    if name.str().len() > MAX_CRON_NAME {
        name.invalid(errs, &format!("must be no more than {MAX_CRON_NAME} characters"));
    }
}

pub(super) fn cron_job_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    cron_spec(&new.get("spec"), Some(&old.get("spec")), errs);
}

fn cron_spec(spec: &At<'_, '_>, old: Option<&At<'_, '_>>, errs: &mut ErrorList) {
    let schedule = spec.get("schedule");
    if schedule.is_empty() {
        schedule.required(errs, "");
    } else {
        let text = schedule.str();
        if let Err(why) = cron(text) {
            schedule.invalid(errs, &why);
        }
        let kept = old.is_some_and(|o| o.get("schedule").str().contains("TZ"));
        if text.contains("TZ") && !kept {
            schedule.invalid(errs, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        } else if text.contains("TZ") && spec.get("timeZone").is_set() {
            schedule.invalid(errs, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
        }
    }
    spec.get("startingDeadlineSeconds").not_negative(errs);
    time_zone(&spec.get("timeZone"), errs);
    spec.get("concurrencyPolicy").required_one_of(errs, &["Allow", "Forbid", "Replace"], "");
    let template = spec.get("jobTemplate");
    let job = template.get("spec");
    job_spec(&job, errs);
    if job.get("selector").is_set() {
        job.get("selector").invalid(errs, "`selector` will be auto-generated");
    }
    if job.get("manualSelector").is_true() {
        let manual = job.get("manualSelector");
        errs.push(Error::not_supported(&manual.path(), true, &["false", "nil"]));
    }
    number::counters(spec, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"], errs);
}

/// The shape of a zone's name; whether the zone exists, the controller finds out.
fn time_zone(at: &At<'_, '_>, errs: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    let text = at.str();
    if text.is_empty() {
        return at.invalid_str(errs, "timeZone must be nil or non-empty string");
    }
    let part = |p: &str| {
        let shaped = (1..=14).contains(&p.len()) && p.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+'));
        shaped && !matches!(p, "." | "..") && !p.starts_with('-')
    };
    if !text.split('/').all(part) {
        at.invalid(errs, &format!("unknown time zone {text}"));
    } else if text.eq_ignore_ascii_case("local") {
        at.invalid(errs, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
}

/// A schedule of five fields, or one of the words that stand for one.
fn cron(text: &str) -> Result<(), String> {
    let text = match text.split_once(' ') {
        Some((zone, rest)) if zone.starts_with("TZ=") || zone.starts_with("CRON_TZ=") => rest.trim(),
        _ => text,
    };
    if let Some(word) = text.strip_prefix('@') {
        return match word {
            "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly" => Ok(()),
            _ if word.starts_with("every ") => Ok(()),
            _ => Err(format!("unrecognized descriptor: @{word}")),
        };
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let bounds: [(u32, u32, &[&str]); 5] = [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, MONTHS), (0, 6, DAYS)];
    fields
        .iter()
        .zip(bounds)
        .try_for_each(|(field, (low, high, names))| field.split(',').try_for_each(|part| cron_part(part, low, high, names)))
}

fn cron_part(part: &str, low: u32, high: u32, names: &[&str]) -> Result<(), String> {
    let (span, step) = match part.split_once('/') {
        None => (part, None),
        Some((_, step)) if step.contains('/') => return Err(format!("too many slashes: {part}")),
        Some((span, step)) => (span, Some(step)),
    };
    let number = |text: &str| -> Result<u32, String> {
        if let Some(i) = names.iter().position(|n| n.eq_ignore_ascii_case(text)) {
            return Ok(low + u32::try_from(i).unwrap_or(0));
        }
        text.parse().map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
    };
    let (from, to) = match span {
        "*" | "?" => (low, high),
        _ => match span.split_once('-') {
            Some((_, to)) if to.contains('-') => return Err(format!("too many hyphens: {part}")),
            Some((from, to)) => (number(from)?, number(to)?),
            None => {
                let n = number(span)?;
                (n, if step.is_some() { high } else { n })
            }
        },
    };
    if from < low {
        return Err(format!("beginning of range ({from}) below minimum ({low}): {part}"));
    }
    if to > high {
        return Err(format!("end of range ({to}) above maximum ({high}): {part}"));
    }
    if from > to {
        return Err(format!("beginning of range ({from}) beyond end of range ({to}): {part}"));
    }
    match step.map(number).transpose()? {
        Some(0) => Err(format!("step of range should be a positive number: {part}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::validation::create;
    use crate::validation::tests::shown;

    #[test]
    fn schedules() {
        for good in ["* * * * *", "*/5 0-6,12 1 jan-mar MON", "@hourly", "@every 1h", "0 0 ? * *"] {
            assert_eq!(super::cron(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("@often", "unrecognized descriptor: @often"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
        ] {
            assert_eq!(super::cron(bad), Err(why.to_owned()), "{bad}");
        }
    }

    #[test]
    fn bad_jobs_are_refused() {
        let labels =
            json!({"controller-uid": "u", "job-name": "j", "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "j"});
        let job = |changes: &[(&str, Value)]| {
            let mut o = json!({"metadata": {"name": "j", "namespace": "default", "uid": "u"}, "spec": {
                "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
                "template": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}}});
            for (pointer, value) in changes {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                o.pointer_mut(parent).unwrap()[key] = value.clone();
            }
            crate::defaults::apply(("batch", "v1", "Job"), &mut o);
            o
        };
        for (changes, want) in [
            (vec![], vec![]),
            (
                vec![("/spec/template/spec/restartPolicy", json!("Always"))],
                vec!["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
            ),
            (vec![("/spec/selector", Value::Null)], vec!["spec.selector: Required value"]),
            (
                vec![("/spec/completionMode", json!("Indexed")), ("/spec/parallelism", json!(1))],
                vec!["spec.completions: Required value: when completion mode is Indexed"],
            ),
            (
                vec![("/spec/backoffLimitPerIndex", json!(1))],
                vec!["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
            ),
            (vec![("/spec/parallelism", json!(-1))], vec!["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"]),
        ] {
            assert_eq!(shown(&create("batch", "v1", "Job", &job(&changes))), want, "{changes:?}");
        }
        let mut cron = json!({"metadata": {"name": "c".repeat(53), "namespace": "default"}, "spec": {"schedule": "x", "jobTemplate": {"spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}}}}});
        crate::defaults::apply(("batch", "v1", "CronJob"), &mut cron);
        assert_eq!(
            shown(&create("batch", "v1", "CronJob", &cron)),
            [
                "spec.schedule: Invalid value: \"x\": expected exactly 5 fields, found 1: [x]".to_owned(),
                format!("metadata.name: Invalid value: \"{}\": must be no more than 52 characters", "c".repeat(53))
            ]
        );
    }
}
