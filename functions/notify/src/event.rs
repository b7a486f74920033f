//! Lambda events: what SNS, CloudWatch, Lambda itself and the schedule send.

use crate::heard::{AlarmEvent, InvocationFailure, NotificationEvent, ReportedRun};
use jiff::Timestamp;
use serde_json::Value;
use shared::aws::sns::{AUDIENCE, Audience};

/// An event that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this event can't be read: {0}")]
pub struct NotifyEventError(String);

/// What an event says; nothing for a tick of the schedule.
///
/// # Errors
/// If it is none that notify knows, naming what is wrong with it.
pub fn parse_event(event: &Value) -> Result<Vec<NotificationEvent>, NotifyEventError> {
    // An error repeats what it is about, which may be a megabyte.
    parse_any_event(event)
        .map_err(|NotifyEventError(why)| NotifyEventError(crate::state::truncate_chars(&why, 1000)))
}

fn parse_any_event(event: &Value) -> Result<Vec<NotificationEvent>, NotifyEventError> {
    if event.get("tick").and_then(Value::as_bool) == Some(true) {
        return Ok(Vec::new());
    }
    if event.get("detail-type").and_then(Value::as_str) == Some("Scheduled Event") {
        return Ok(Vec::new());
    }
    if let Some(records) = event.get("Records").and_then(Value::as_array) {
        let heard: Result<Vec<_>, _> = records.iter().map(parse_sns_record).collect();
        return heard.map(|all| all.into_iter().flatten().collect());
    }
    parse_body(event).map(Vec::from_iter)
}

/// One message of an SNS topic.
fn parse_sns_record(record: &Value) -> Result<Option<NotificationEvent>, NotifyEventError> {
    let Some(message) = record.pointer("/Sns/Message").and_then(Value::as_str) else {
        return Err(NotifyEventError("a record is no message of SNS: it lacks Sns.Message".into()));
    };
    match serde_json::from_str::<Value>(message) {
        Ok(read) if read.is_object() => parse_body(&read),
        _ => {
            let text = |pointer| record.pointer(pointer).and_then(Value::as_str);
            let subject = text("/Sns/Subject").unwrap_or_default();
            // What is written for people about a failed run: its report says more.
            let audience = text(&format!("/Sns/MessageAttributes/{AUDIENCE}/Value"));
            if audience == Some(Audience::People.word()) {
                tracing::info!(subject, "a message for people is not news: its report is");
                return Ok(None);
            }
            Err(NotifyEventError(format!(
                "the message \"{}\" of SNS is no JSON object",
                crate::state::truncate_chars(subject, 100)
            )))
        }
    }
}

fn parse_body(message: &Value) -> Result<Option<NotificationEvent>, NotifyEventError> {
    let has = |key: &str| message.get(key).is_some();
    if has("AlarmName") {
        return parse_alarm(message).map(|a| Some(NotificationEvent::Alarm(a)));
    }
    if message.pointer("/requestContext/functionArn").is_some() {
        return parse_lambda_destination(message)
            .map(|n| n.map(NotificationEvent::InvocationFailed));
    }
    if has("function") && has("run_id") {
        let run: Result<ReportedRun, _> = serde_json::from_value(message.clone());
        let run = run.map_err(|e| NotifyEventError(format!("{e} in a report")))?;
        return Ok(Some(NotificationEvent::Report(Box::new(run))));
    }
    Err(NotifyEventError(
        "it is no report of a function, no change of a CloudWatch alarm, no failure that Lambda tells of, and no \
         {\"tick\": true}"
            .into(),
    ))
}

fn required_str<'v>(
    message: &'v Value,
    pointer: &str,
    of: &str,
) -> Result<&'v str, NotifyEventError> {
    let found = message.pointer(pointer).and_then(Value::as_str);
    found.ok_or_else(|| {
        NotifyEventError(format!(
            "{of} lacks {}",
            pointer.trim_start_matches('/').replace('/', ".")
        ))
    })
}

/// CloudWatch writes `2026-11-20T12:00:00.000+0000`, Lambda `2026-11-20T12:00:00.000Z`.
fn parse_event_time(text: &str, of: &str) -> Result<Timestamp, NotifyEventError> {
    let offset =
        jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text).and_then(|t| t.to_timestamp());
    let time = text.parse().or(offset);
    time.map_err(|_| {
        NotifyEventError(format!(
            "\"{}\" is no time in {of}",
            crate::state::truncate_chars(text, 60)
        ))
    })
}

fn parse_alarm(message: &Value) -> Result<AlarmEvent, NotifyEventError> {
    let of = "a change of a CloudWatch alarm";
    Ok(AlarmEvent {
        name: required_str(message, "/AlarmName", of)?.to_owned(),
        state: required_str(message, "/NewStateValue", of)?.to_owned(),
        at: parse_event_time(required_str(message, "/StateChangeTime", of)?, of)?,
        reason: required_str(message, "/NewStateReason", of).unwrap_or_default().to_owned(),
    })
}

/// What Lambda hands on when it gave up an asynchronous invocation. One that succeeded is no news.
fn parse_lambda_destination(
    message: &Value,
) -> Result<Option<InvocationFailure>, NotifyEventError> {
    let of = "what Lambda says of an invocation";
    let condition = required_str(message, "/requestContext/condition", of)?;
    if condition == "Success" {
        return Ok(None);
    }
    let arn = required_str(message, "/requestContext/functionArn", of)?;
    // `arn:aws:lambda:eu-west-1:111122223333:function:holdfast-freshness:$LATEST`
    let name = arn.split(':').nth(6).unwrap_or(arn);
    let error = |key| message.pointer(&format!("/responsePayload/{key}")).and_then(Value::as_str);
    let why = match (error("errorType"), error("errorMessage")) {
        (Some(kind), Some(why)) => format!("{kind}: {why}"),
        (None, Some(why)) => why.to_owned(),
        (Some(kind), None) => kind.to_owned(),
        (None, None) => condition.to_owned(),
    };
    Ok(Some(InvocationFailure {
        function: function_of_lambda(name).to_owned(),
        run: required_str(message, "/requestContext/requestId", of)?.to_owned(),
        at: parse_event_time(required_str(message, "/timestamp", of)?, of)?,
        why: crate::state::truncate_chars(&why, 400),
        reported: error("errorType") == Some("Holdfast.Failed"),
    }))
}

/// The function of ours behind a Lambda's name: the stack's name, a hyphen, the function.
fn function_of_lambda(name: &str) -> &str {
    let known = ["snapshot", "offsite", "freshness", "replication", "retention", "dump", "report"];
    let ours = |f: &&&str| {
        name.strip_suffix(**f).is_some_and(|stack| stack.is_empty() || stack.ends_with('-'))
    };
    known.iter().find(ours).map_or(name, |f| f)
}

#[cfg(test)]
mod tests;
