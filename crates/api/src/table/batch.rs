//! Rows of jobs and cron jobs.

use serde_json::{Value, json};

use super::row::{NONE, Row, UNSET};
use super::{Cells, age};

pub(super) fn cells(kind: &str) -> Option<Cells> {
    match kind {
        "Job" => Some(job),
        "CronJob" => Some(cron_job),
        _ => None,
    }
}

fn job(row: &Row<'_>) -> Vec<Value> {
    let succeeded = row.int("/status/succeeded");
    let completions = match (row.get("/spec/completions"), row.int("/spec/parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let start = age::parse(row.text("/status/startTime"));
    let end = age::parse(row.text("/status/completionTime"));
    let duration = start.map_or_else(String::new, |start| age::between(start, end.unwrap_or(row.now)));
    let [names, images] = row.containers("/spec/template/spec/containers");
    vec![row.name(), json!(status(row)), json!(completions), json!(duration), row.age(), names, images, row.selector("/spec/selector")]
}

fn status(row: &Row<'_>) -> &'static str {
    let first_of = |kinds: &[&'static str]| kinds.iter().find(|k| row.holds(k)).copied();
    first_of(&["Complete", "Failed"])
        .or_else(|| row.is_deleted().then_some("Terminating"))
        .or_else(|| first_of(&["Suspended", "FailureTarget", "SuccessCriteriaMet"]))
        .unwrap_or("Running")
}

fn cron_job(row: &Row<'_>) -> Vec<Value> {
    const LAST: &str = "/status/lastScheduleTime";
    let last = row.get(LAST).map_or_else(|| NONE.to_owned(), |_| row.since(LAST));
    let suspended = match row.get("/spec/suspend").and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => UNSET,
    };
    let [names, images] = row.containers("/spec/jobTemplate/spec/template/spec/containers");
    vec![
        row.name(),
        json!(row.text("/spec/schedule")),
        json!(row.text_or("/spec/timeZone", NONE)),
        json!(suspended),
        json!(row.list("/status/active").len()),
        json!(last),
        row.age(),
        names,
        images,
        row.selector("/spec/jobTemplate/spec/selector"),
    ]
}
