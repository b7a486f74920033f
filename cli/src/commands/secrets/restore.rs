//! `holdfast secrets restore`: what would be written, or writing it. Values are decrypted only to be written.

use super::{find_group, identities};
use crate::{
    args::secrets::SecretsRestoreArgs,
    output::CommandOutput,
    recorded,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::{PLACEHOLDER, format_time},
};
use secrets::{
    restore::{RestoreRequest, SecretRestore, find_secret, restore_secret, select},
    stored,
};
use serde::Serialize;
use shared::{
    audit::{AuditEntry, OperationResult},
    catalog::Location,
    plan::Operation,
};
use storage::TrustPolicy;

/// Plans, shows, and with `--yes` restores.
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &SecretsRestoreArgs,
) -> anyhow::Result<CommandExit> {
    let (group, target) = args.target.split_once('/').ok_or_else(|| {
        CommandError::usage("write GROUP/NAME: the group of the policy, then the secret's name")
    })?;
    let rules = find_group(session, group)?;
    let world = session.dry_run_context();
    let failed = |e: shared::aws::OperationError| CommandError::from_data_error(&e);
    let store = stored::open(&world, rules).await.map_err(failed)?.ok_or_else(|| {
        CommandError::usage(format!("secrets.{group} has no storage, so nothing is exported"))
    })?;
    let trust = TrustPolicy::from_signing(&session.policy, world.now);
    let inventory = stored::list_exports(&store.store, &trust).await.map_err(failed)?;
    let request = RestoreRequest {
        target: target.to_owned(),
        version: args.version.clone(),
        to: args.to.clone(),
        kms_key: args.kms_key.clone(),
        overwrite: args.overwrite,
    };
    let mut planned = select(&inventory, &request);
    if planned.is_empty() {
        let why = format!("no export of {target} is in {}", store.store.address());
        return Err(CommandError::usage(format!("{why}; a beginning of names ends with *")));
    }
    let home = world.home_location();
    let there = match &args.region {
        Some(region) => Location { region: region.clone(), ..home },
        None => home,
    };
    let client = world.aws.secrets(&there);
    for secret in &mut planned {
        let found = find_secret(&client, &secret.to).await.map_err(failed)?;
        secret.fit(found.as_ref(), &request);
    }
    let mut output = RestoreOutput {
        dry_run: !args.yes,
        region: there.region.to_string(),
        secrets: planned.into_iter().map(|secret| RestoreRow { secret, result: None }).collect(),
    };
    let mut exit = CommandExit::Success;
    if args.yes {
        let keys =
            identities(session, rules, args.identity.as_deref()).await?.ok_or_else(|| {
                let why = "no identity opens the exports: give one with --identity";
                CommandError::with_exit(CommandExit::Key, why)
            })?;
        let mut entries = Vec::new();
        for row in &mut output.secrets {
            let work =
                restore_secret(&client, &store.store, &keys, &row.secret, &session.env.run_id);
            let done = session.progress.with_spinner("restoring", work).await;
            if let Err(e) = &done {
                let code = CommandExit::from_error_kind(e.kind).unwrap_or(CommandExit::Failed);
                exit = exit.max(code);
            }
            let result = done.map_err(|e| e.to_line_with_hint());
            entries.push(audit_entry(group, &row.secret, &there, &result));
            row.result = Some(result.err().unwrap_or_else(|| "restored".into()));
        }
        exit = recorded::append_audit_entries(session, "secrets restore", entries, exit).await;
    } else if output.secrets.iter().any(|r| r.secret.refused.is_some()) {
        exit = CommandExit::Failed;
    }
    session.output.print_output(&output)?;
    Ok(exit)
}

fn audit_entry(
    group: &str,
    secret: &SecretRestore,
    there: &Location,
    result: &Result<(), String>,
) -> AuditEntry {
    AuditEntry {
        asset: format!("{group}/{}", secret.name),
        action: "restore secret".into(),
        reason: "it was asked for".into(),
        operation: Operation::Restore,
        result: if result.is_ok() { OperationResult::Done } else { OperationResult::Failed },
        detail: match result {
            Ok(()) => format!("{} versions to {} in {there}", secret.versions.len(), secret.to),
            Err(why) => why.clone(),
        },
        artifact: None,
        seconds: None,
        evidence: None,
    }
}

#[derive(Serialize)]
struct RestoreOutput {
    dry_run: bool,
    region: String,
    secrets: Vec<RestoreRow>,
}

#[derive(Serialize)]
struct RestoreRow {
    #[serde(flatten)]
    secret: SecretRestore,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
}

impl CommandOutput for RestoreOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let rows = self.secrets.iter().flat_map(|row| {
            let last = row.secret.versions.len().saturating_sub(1);
            row.secret.versions.iter().enumerate().map(move |(i, v)| {
                let (refused, result) = (row.secret.refused.clone(), row.result.clone());
                let planned = match (row.secret.existing, i == last) {
                    (true, _) => "is added as the current version",
                    (false, true) => "becomes current",
                    (false, false) => "becomes previous",
                };
                vec![
                    row.secret.name.clone(),
                    v.version.clone(),
                    v.created.map_or_else(|| PLACEHOLDER.into(), format_time),
                    row.secret.to.clone(),
                    result
                        .or(refused.map(|w| format!("REFUSED: {w}")))
                        .unwrap_or_else(|| planned.into()),
                ]
            })
        });
        let table = look.render_table(&["secret", "version", "created", "to", "result"], rows);
        let note = if self.dry_run {
            "\ndry run: nothing is written; add --yes to restore"
        } else {
            "\nrotation and resource policy are not attached, and the end of each ARN is another: see docs/secrets.md"
        };
        format!("{table}\n{note}")
    }
}
