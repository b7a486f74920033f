//! Sends one message to one channel, for the end-to-end tests of channels:
//!
//!     {"notify": {the policy's section}, "channel": "slack", "message": {..}, "now": ".."}
//!
//! on standard input. What is refused is printed as JSON, and the exit code is 1.

use jiff::Timestamp;
use notify::{
    channel::{ChannelContext, HttpClient, send},
    message::ChannelMessage,
};
use serde::Deserialize;
use shared::{
    aws::AwsClients,
    catalog::Location,
    policy::{notify::NotifyConfig, text::Name},
    secret::SecretResolver,
};
use std::{error::Error, io::read_to_string, process::ExitCode};

#[derive(Deserialize)]
struct SendRequest {
    notify: NotifyConfig,
    channel: Name,
    message: ChannelMessage,
    now: Timestamp,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let asked: SendRequest = serde_json::from_str(&read_to_string(std::io::stdin())?)?;
    let aws = AwsClients::from_env().await;
    let home =
        Location { account: "000000000000".parse()?, region: "eu-west-1".parse()?, role: None };
    let secrets = SecretResolver::new(&aws, &home);
    let http = HttpClient::new();
    let edges = ChannelContext {
        aws: &aws,
        home: &home,
        secrets: &secrets,
        http: &http,
        notify: &asked.notify,
        now: asked.now,
    };
    let channel = asked.notify.channels.get(&asked.channel).ok_or("no such channel")?;
    let Err(refused) = send(channel, &asked.message, &edges).await else {
        return Ok(ExitCode::SUCCESS);
    };
    let seconds = refused.retry_after.map(|d| d.as_secs());
    let all = serde_json::json!({"why": refused.why, "retry_after": seconds, "permanent": refused.permanent});
    serde_json::to_writer(std::io::stdout(), &all)?;
    Ok(ExitCode::FAILURE)
}
