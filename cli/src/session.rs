//! What a command stands on: the policy, the clients, and what came in at the edge.

use crate::{
    args::{GlobalArgs, TopicArg},
    function::FunctionName,
    interrupt::InterruptSignal,
    output::OutputWriter,
    progress::ProgressLine,
    stop::CommandError,
};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::ProvideCredentials;
use jiff::Timestamp;
use shared::{
    aws::AwsClients,
    metrics,
    policy::Policy,
    run::{Deadline, RunContext},
    secret::SecretResolver,
    source::PolicyLoader,
};
use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

/// What comes in from outside, once.
#[derive(Debug)]
pub(crate) struct CommandEnv {
    /// Now.
    pub(crate) now: Timestamp,
    /// The run's id.
    pub(crate) run_id: String,
    /// The name of a demand that names none itself.
    pub(crate) request_id: String,
    /// Who runs the command, on which host.
    pub(crate) user: String,
    /// Tries of a call, where the environment says how many.
    pub(crate) attempts: Option<u32>,
    /// AWS's region, where the environment names one.
    pub(crate) region: Option<String>,
    /// Ctrl-C.
    pub(crate) interrupt: InterruptSignal,
    /// The time, for what goes on for longer than one answer.
    pub(crate) clock: fn() -> Timestamp,
}

impl CommandEnv {
    /// The edge of the next of several looks.
    pub(crate) fn for_next_run(&self, now: Timestamp, n: usize) -> Self {
        Self {
            now,
            run_id: format!("{}-{n}", self.run_id),
            request_id: self.request_id.clone(),
            user: self.user.clone(),
            attempts: self.attempts,
            region: self.region.clone(),
            interrupt: self.interrupt.clone(),
            clock: self.clock,
        }
    }
}

/// A command's policy and clients.
#[derive(Debug)]
pub(crate) struct CommandContext<'e> {
    /// The clients.
    pub(crate) aws: AwsClients,
    /// The policy.
    pub(crate) policy: Arc<Policy>,
    /// What came in.
    pub(crate) env: &'e CommandEnv,
    /// Where the answer goes.
    pub(crate) output: OutputWriter,
    /// Life signs.
    pub(crate) progress: ProgressLine,
    /// When it was opened.
    pub(crate) started_at: Instant,
    /// Where notify remembers what it told.
    pub(crate) notify_state: Option<String>,
    topic: Option<String>,
    reports: Option<String>,
}

/// How long an unreachable AWS is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RetryProfile {
    /// Somebody waits for an answer: three tries, as every AWS tool does.
    Interactive,
    /// A throttled call must not end a pipeline: as many tries as the Lambdas'.
    Batch,
    /// As for work, and without credentials what lies on this host is worked on all the same.
    Host,
}

impl<'e> CommandContext<'e> {
    /// Reads the policy and finds credentials, in this order: a faulty policy is told without either.
    ///
    /// # Errors
    /// If there is no policy, or nobody to ask AWS as.
    pub(crate) async fn open(
        global: &GlobalArgs,
        edge: &'e CommandEnv,
        patience: RetryProfile,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let progress = ProgressLine::new(global.json, global.verbose);
        let local = if global.policy.starts_with("s3://") {
            None
        } else {
            Some(load_policy(&global.policy, &offline_clients()).await?)
        };
        let tries = edge.attempts.unwrap_or(match patience {
            RetryProfile::Interactive => 3,
            RetryProfile::Batch | RetryProfile::Host => 6,
        });
        let needless = |p: &Arc<Policy>| p.home.is_none() || matches!(patience, RetryProfile::Host);
        let aws = if let Some(policy) = local.as_ref().filter(|p| needless(p)) {
            // Named, the region is not looked for: a host that is not on AWS would wait for an answer that never comes.
            let region = edge
                .region
                .clone()
                .unwrap_or_else(|| policy.home_or_placeholder().region.to_string());
            AwsClients::new(load_aws_config(tries, Some(region)).await)
        } else {
            progress.with_spinner("finding credentials", Box::pin(connect_aws(tries))).await?
        };
        let policy = match local {
            Some(policy) => policy,
            None => {
                progress
                    .with_spinner("reading the policy", load_policy(&global.policy, &aws))
                    .await?
            }
        };
        let arn = |t: &Option<TopicArg>| t.as_ref().and_then(|t| t.0.clone());
        let (topic, reports) = (arn(&global.topic), arn(&global.reports_topic));
        Ok(Self {
            aws,
            policy,
            env: edge,
            output: OutputWriter::new(global.json),
            progress,
            started_at: began,
            notify_state: global.state.clone().filter(|at| !at.is_empty()),
            topic,
            reports,
        })
    }

    /// What the policy's secrets are found with.
    pub(crate) fn secret_resolver(&self) -> SecretResolver<'_> {
        self.dry_run_context().secret_resolver()
    }

    /// Whether the reports of runs go to a topic, on which notify hears of them.
    pub(crate) fn has_reports_topic(&self) -> bool {
        self.reports.is_some() && self.policy.home.is_some()
    }

    /// The world of a dry run.
    pub(crate) fn dry_run_context(&self) -> RunContext<'_> {
        self.new_run_context(Deadline::unlimited(), true, None)
    }

    /// The world of a run that does something. Alarms are set to tell the topic, so a run without one must not take
    /// theirs away: it goes by the topic that the function's alarms have already.
    pub(crate) async fn run_context(
        &self,
        function: FunctionName,
        budget: Deadline,
    ) -> RunContext<'_> {
        let topic = match &self.topic {
            Some(topic) => Some(topic.clone()),
            None => self.existing_alarms_topic(function).await,
        };
        self.new_run_context(budget, false, topic)
    }

    fn new_run_context(
        &self,
        budget: Deadline,
        dry_run: bool,
        topic: Option<String>,
    ) -> RunContext<'_> {
        RunContext {
            aws: &self.aws,
            policy: &self.policy,
            now: self.env.now,
            deadline: budget,
            run_id: self.env.run_id.clone(),
            dry_run,
            on_host: true,
            failure_topic: topic,
            reports_topic: self.reports.clone(),
            user: Some(self.env.user.clone()),
        }
    }

    async fn existing_alarms_topic(&self, function: FunctionName) -> Option<String> {
        let wanted = metrics::alarms_for_function(&self.policy, function.name(), None);
        if wanted.is_empty() {
            return None;
        }
        let home = shared::catalog::Location::home_from_policy(&self.policy);
        let names: Vec<_> = wanted.iter().map(|a| a.name.clone()).collect();
        // If they can't be read, they can't be set either, and the run says so.
        let found = self.aws.cloudwatch(&home).describe_alarms(&names).await.ok()?;
        found.iter().filter_map(|f| f.alarm.as_ref()).find_map(|found| {
            // Topics that the policy itself names are written again anyway.
            let own = wanted.iter().find(|w| w.name == found.name)?;
            found.topics.iter().find(|t| !own.topics.contains(t)).cloned()
        })
    }
}

/// Reads a policy from where `at` says.
///
/// # Errors
/// If it can't be read or has faults.
pub(crate) async fn load_policy(at: &str, aws: &AwsClients) -> anyhow::Result<Arc<Policy>> {
    PolicyLoader::new(at).load(aws).await.map_err(|e| CommandError::from_policy_error(&e))
}

/// Clients that reach nothing, for what needs no AWS.
pub(crate) fn offline_clients() -> AwsClients {
    AwsClients::new(SdkConfig::builder().build())
}

/// Clients from the environment, once it is known that there is somebody to ask as.
///
/// # Errors
/// If there are no credentials.
pub(crate) async fn connect_aws(tries: u32) -> anyhow::Result<AwsClients> {
    let config = load_aws_config(tries, None).await;
    let found = match config.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.map_err(|e| {
            // Where nothing was found, the list of everywhere that was looked helps nobody.
            let why = error_chain(&e);
            why.split(" Attempted:").next().unwrap_or(&why).trim_end_matches('.').to_owned()
        }),
        None => Err("no provider is set up".to_owned()),
    };
    found.map_err(|why| {
        CommandError::unreachable(format!(
            "no AWS credentials: {why}; log in, and name the profile in AWS_PROFILE, or set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY"
        ))
    })?;
    Ok(AwsClients::new(config))
}

async fn load_aws_config(tries: u32, region: Option<String>) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_mins(1))
        .build();
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        // The account's quota is shared with the Lambdas: slow down when AWS says so, as they do.
        .retry_config(RetryConfig::adaptive().with_max_attempts(tries.max(1)))
        .timeout_config(timeouts);
    match region {
        Some(region) => config.region(Region::new(region)).load().await,
        None => config.load().await,
    }
}

/// An error with what is behind it, on one line.
fn error_chain(e: &dyn Error) -> String {
    let mut said = e.to_string();
    let mut behind = e.source();
    while let Some(e) = behind {
        let why = e.to_string();
        if !said.contains(&why) {
            said = format!("{said}: {why}");
        }
        behind = e.source();
    }
    said.replace('\n', " ")
}
