//! Which dumps are copied to a second place, and under which names.

use super::{Action, Copying, Looked, Noting, bad_key, finding, key};
use jiff::{SignedDuration, Timestamp};
use shared::{
    plan::{Plan, Severity},
    policy::Dump,
};
use store::{
    copies::{self, Missing},
    form::form,
    key::Names,
};

/// Good dumps that a second place's rule would keep and that are not there.
pub(super) fn copy(plan: &mut Plan<Action>, l: &Looked<'_>, now: Timestamp) {
    let Some((Ok(home), others)) = l.places.split_first() else { return };
    for (to, (there, place)) in others.iter().zip(&l.rules.also_stored).enumerate() {
        let Ok(there) = there else { continue };
        for (backup, copy, at) in copies::notes(home, there) {
            let note = Noting {
                group: l.group.clone(),
                database: l.database.to_owned(),
                from: backup.key.clone(),
                to,
                key: copy.key.clone(),
                at,
            };
            let because = format!("its database was still the same at {at}");
            plan.step(format!("{}/{}", l.group, l.database), Action::Note(note), because);
        }
        for (reason, dump) in &l.dumps {
            // What was taken after this run began is not of the future.
            let newest = copies::newest(home.iter().chain(there), reason.as_str());
            let now = newest.map_or(now, |newest| now.max(newest));
            let keep = place.keep.as_ref().unwrap_or(&dump.keep);
            for missing in copies::missing(home, there, reason.as_str(), keep, now) {
                let Missing { backup, manifest: m, why } = missing;
                let at = m.slot.or_else(|| named(l, dump, &backup.key)).unwrap_or(m.data_time);
                let key = match key(place, dump, l.database, reason, m.table.as_deref(), at) {
                    Ok(key) => key,
                    Err(e) => {
                        plan.findings.push(bad_key(l, &e));
                        return;
                    }
                };
                if there.iter().any(|b| b.key == key) {
                    let why = format!("another file has the name {key} there already");
                    let mend =
                        "put {reason} or a finer time (%H%M%S) into the place's key in the policy";
                    plan.findings.push(finding(l, Severity::Critical, "name-taken", why, mend));
                    continue;
                }
                let copy = Copying {
                    group: l.group.clone(),
                    database: l.database.to_owned(),
                    from: backup.key.clone(),
                    to,
                    key,
                };
                let because = format!("it is not there, and would be kept: {}", why.join(", "));
                plan.step(format!("{}/{}", l.group, l.database), Action::Copy(copy), because);
            }
        }
    }
}

/// The time in a dump's name, when that is to the second: its copies get the same name.
fn named(l: &Looked<'_>, dump: &Dump, key: &str) -> Option<Timestamp> {
    let read = form(&l.rules.stored, dump).ok()?.read(key, Names::default())?;
    (read.precision <= SignedDuration::from_secs(1)).then_some(read.at)
}
