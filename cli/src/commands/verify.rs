//! `holdfast verify`: whether dumps can be read, or come back.

use crate::{
    args::VerifyArgs,
    backups::{Item, find, one},
    output::{self, Answer},
    session::Session,
    stop::{Exit, Stop},
    table::Look,
    words::{NONE, count, plain, time},
};
use anyhow::Context;
use dump::means;
use futures_util::{StreamExt, stream};
use restore::{
    Kind, Opening, Rules, Trial, Verified, full, quick,
    verify::{Went, markdown},
};
use serde::Serialize;
use shared::{catalog::Place, secret::Secrets};
use std::collections::BTreeSet;

/// Earlier dumps whose sizes are compared.
const EARLIER: usize = 7;

/// Verifies what was asked for and shows it.
pub(super) async fn run(session: &Session<'_>, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let home = Place::home(&session.policy);
    let secrets = Secrets::new(&session.aws, &home);
    let interrupt = &session.edge.interrupt;
    let choosing = Box::pin(choose(session, &secrets, args));
    let items = interrupt.or(session.progress.during("looking at the stores", choosing)).await?;
    let what = if args.full { "restoring for proof" } else { "reading" };
    let work = async {
        let each = items.iter().map(|item| verify(session, &secrets, args, item, &items));
        stream::iter(each).buffered(usize::from(args.width.max(1))).collect::<Vec<_>>().await
    };
    let tried = tokio::select! {
        tried = session.progress.during(what, work) => tried,
        () = interrupt.came() => {
            return Err(Stop::interrupted(
                "interrupted; the next `holdfast verify --full` drops a temporary database that is left",
            ));
        }
    };
    let (mut all, mut exit) = (Vec::new(), Exit::Well);
    for tried in tried {
        match tried {
            Ok(verified) => all.push(verified),
            Err(e) => {
                output::tell(&format!("holdfast: {e:#}"));
                exit = exit.max(Exit::of(&e));
            }
        }
    }
    if exit == Exit::Well && all.iter().any(|v| !v.good) {
        exit = all.iter().filter(|v| !v.good).map(broke).max().unwrap_or(Exit::Failed);
    }
    if let Some(path) = &args.markdown {
        let text = markdown(&all);
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    session.output.answer(&All(all))?;
    Ok(exit)
}

/// Which dumps: files by name, or the newest or all of groups and databases.
async fn choose<'s>(
    session: &'s Session<'_>,
    secrets: &Secrets<'_>,
    args: &VerifyArgs,
) -> anyhow::Result<Vec<Item<'s>>> {
    let mut items = Vec::new();
    let named: Vec<Option<&str>> = match args.of.as_slice() {
        [] => vec![None],
        of => of.iter().map(|s| Some(s.as_str())).collect(),
    };
    for of in named {
        let groups = &session.policy.postgres;
        let group = |of: &str| {
            let name = of.split('/').next().unwrap_or(of);
            groups.iter().any(|(n, g)| {
                n.as_str() == name
                    && (of == name || g.databases.iter().any(|d| of == format!("{name}/{d}")))
            })
        };
        if let Some(file) = of.filter(|of| !group(of)) {
            items.push(one(session, secrets, file, None).await?);
            continue;
        }
        let found = find(session, secrets, of).await?;
        if let Some(gap) = found.gaps.first() {
            return Err(Stop::edge(gap));
        }
        let mut newest = BTreeSet::new();
        for item in found.items {
            // Of a database, the newest in its first place; with --all, every one in every place.
            let key = (item.group.to_string(), item.database.clone());
            if args.all || (item.place == 0 && item.good().is_some() && newest.insert(key)) {
                items.push(item);
            }
        }
    }
    if items.is_empty() {
        let said = "there is no dump to verify; `holdfast list` shows what there is";
        return Err(anyhow::anyhow!(said));
    }
    Ok(items)
}

async fn verify(
    session: &Session<'_>,
    secrets: &Secrets<'_>,
    args: &VerifyArgs,
    item: &Item<'_>,
    all: &[Item<'_>],
) -> anyhow::Result<Verified> {
    let opening = Opening::of(secrets, item.rules, &args.keys.files).await;
    let opening = opening.map_err(|e| Stop::data(&e))?;
    let csv = item.good().is_some_and(|m| m.format == store::manifest::Format::Csv);
    if !args.full || csv {
        return Ok(quick(&item.open.store, &item.backup, &opening).await);
    }
    let world = session.look();
    let server = means::server(&world, secrets, item.rules).await.map_err(|e| Stop::data(&e))?;
    let rules = Rules {
        critical_tables: item.rules.critical_tables.clone(),
        checks: item.rules.checks.iter().map(|(n, sql)| (n.to_string(), sql.clone())).collect(),
    };
    let before = |other: &&Item<'_>| {
        other.database == item.database
            && other.group == item.group
            && other.place == item.place
            && other.good().map(|m| &m.reason) == item.good().map(|m| &m.reason)
            && other.at() < item.at()
    };
    let of = format!("{}/{}", item.group, item.database);
    let earlier: Vec<u64> = if args.all {
        all.iter().filter(before).take(EARLIER).map(|i| i.backup.size).collect()
    } else {
        let found = find(session, secrets, Some(&of)).await?;
        found.items.iter().filter(before).take(EARLIER).map(|i| i.backup.size).collect()
    };
    let size_change = item.rules.objectives.size_change.as_ref();
    let trial = Trial {
        server: &server,
        run: &session.edge.run,
        jobs: 2,
        rules: &rules,
        earlier: &earlier,
        size_change: size_change.map(shared::policy::text::Share::fraction),
        owners: false,
    };
    let tried = full(&item.open.store, &item.backup, &opening, &trial).await;
    tried.map_err(|e| Stop::restore(&e))
}

/// The exit code of a dump that is not good.
fn broke(v: &Verified) -> Exit {
    let failed = v.checks.iter().filter(|c| c.went == Went::Failed);
    let kinds = failed.filter_map(|c| c.kind);
    kinds
        .map(|k| match k {
            Kind::Key => Exit::Key,
            Kind::Store => Exit::Blind,
            Kind::Connection => Exit::NoDatabase,
            _ => Exit::Failed,
        })
        .max()
        .unwrap_or(Exit::Failed)
}

#[derive(Serialize)]
#[serde(transparent)]
struct All(Vec<Verified>);

impl Answer for All {
    fn text(&self, look: Look) -> String {
        let head = ["backup", "data of", "verdict", "time", "what was seen"];
        let rows = self.0.iter().map(|v| {
            let bad = v.checks.iter().filter(|c| c.went == Went::Failed);
            let mut seen: Vec<String> =
                bad.map(|c| plain(&format!("{}: {}", c.name, c.detail))).collect();
            if seen.is_empty() {
                let good = v.checks.iter().filter(|c| c.went == Went::Passed);
                seen.extend(good.map(|c| c.name.clone()));
            }
            if !v.losses.is_empty() {
                seen.push(count(v.losses.len(), "loss", "losses"));
            }
            let seconds = v.took.iter().fold(0.0, |all, t| all + t.seconds);
            vec![
                v.backup.clone(),
                v.data_time.map_or_else(|| NONE.to_owned(), time),
                if v.good { "ok" } else { "FAILED" }.to_owned(),
                format!("{seconds:.1} s"),
                seen.join(", "),
            ]
        });
        let good = self.0.iter().filter(|v| v.good).count();
        let how = if self.0.iter().any(|v| v.full) { "proven by a restore" } else { "readable" };
        format!("{}\n\n{good} of {} {how}", look.table(&head, rows), self.0.len())
    }
}
