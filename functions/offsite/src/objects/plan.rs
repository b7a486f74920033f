//! Which objects are copied. Pure: no I/O and no clock.

use jiff::Timestamp;
use shared::{
    aws::s3::{CopyObject, S3Object, ObjectPair},
    objective::AgeObjective,
    plan::ActionPlan,
    policy::text::Name,
};

/// Copies from one bucket to one other, as the policy wants them at this time.
#[derive(Clone, Debug)]
pub(super) struct Task<'a> {
    /// The group of the policy.
    pub(super) group: &'a Name,
    /// The bucket that the objects are in.
    pub(super) from: &'a str,
    /// The bucket that the copies go to.
    pub(super) to: &'a str,
    /// Only keys that begin with one of these; all when there is none.
    pub(super) prefixes: &'a [String],
    /// KMS key that the copies are encrypted with.
    pub(super) kms_key: Option<String>,
    /// Objects that were there at this time are due; younger ones wait. None when nothing is due yet.
    pub(super) until: Option<Timestamp>,
    /// How old the oldest object without a copy may be.
    pub(super) objective: Option<AgeObjective>,
}

impl Task<'_> {
    /// The prefixes to list: none lies within another, so that no object is listed twice.
    pub(super) fn lists(&self) -> Vec<&str> {
        if self.prefixes.is_empty() {
            return vec![""];
        }
        let all = || self.prefixes.iter().map(String::as_str);
        let mut lists: Vec<_> =
            all().filter(|p| !all().any(|o| o != *p && p.starts_with(o))).collect();
        lists.sort_unstable();
        lists.dedup();
        lists
    }
}

/// The oldest of some objects.
pub(super) type Oldest = Option<(Timestamp, String)>;

/// The older of what is known and another object.
pub(super) fn older(oldest: &mut Oldest, object: &S3Object) {
    if oldest.as_ref().is_none_or(|(at, _)| object.modified < *at) {
        *oldest = Some((object.modified, object.key.clone()));
    }
}

/// What follows from a page of pairs.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// What to copy.
    pub(super) plan: ActionPlan<CopyObject>,
    /// The oldest object that has no copy and gets none in this run.
    pub(super) waits: Oldest,
    /// Objects that should be copied and lie in an archive class.
    pub(super) archived: Vec<String>,
}

/// What stands between an object and its copy.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing: the copy is there.
    Copied,
    /// It is copied, for this reason.
    Copy(String),
    /// Its time comes with the next slot.
    Waits,
    /// It must be restored from its archive class first.
    Archived,
}

/// Which objects of a page are copied.
pub(super) fn plan(task: &Task<'_>, pairs: &[ObjectPair]) -> Page {
    let mut page = Page::default();
    for pair in pairs {
        // What only the destination has is none of our business: nothing is ever deleted there.
        let (ObjectPair::Missing(object) | ObjectPair::Both(object, _)) = pair else { continue };
        match judge(task, pair) {
            Verdict::Copied => {}
            Verdict::Copy(because) => {
                let (from, to) = (task.from.to_owned(), task.to.to_owned());
                let kms_key = task.kms_key.clone();
                let action = CopyObject { from, object: object.clone(), to, kms_key };
                page.plan.push_step(task.from, action, because);
            }
            Verdict::Waits => older(&mut page.waits, object),
            Verdict::Archived => {
                older(&mut page.waits, object);
                page.archived.push(object.key.clone());
            }
        }
    }
    page
}

fn judge(task: &Task<'_>, pair: &ObjectPair) -> Verdict {
    let (object, because) = match pair {
        ObjectPair::Missing(object) => (object, "it has no copy".to_owned()),
        ObjectPair::Both(object, copy) if object.size != copy.size => {
            (object, format!("its copy has {} bytes and it has {}", copy.size, object.size))
        }
        // S3 keeps whole seconds, so one of the same second may be newer. ETags alone say nothing: under KMS, and in
        // parts of another size, a true copy has another one.
        ObjectPair::Both(object, copy)
            if object.modified >= copy.modified && object.etag != copy.etag =>
        {
            (
                object,
                format!("it was written at {}, its copy at {}", object.modified, copy.modified),
            )
        }
        ObjectPair::Both(..) | ObjectPair::Extra(_) => return Verdict::Copied,
    };
    if task.until.is_none_or(|until| object.modified > until) {
        Verdict::Waits
    } else if object.is_archived() {
        Verdict::Archived
    } else {
        Verdict::Copy(because)
    }
}

#[cfg(test)]
mod tests;
