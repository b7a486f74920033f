//! Which objects are copied. Pure: no I/O and no clock.

use jiff::Timestamp;
use shared::{
    aws::s3::{CopyObject, ObjectPair, S3Object},
    objective::AgeObjective,
    plan::ActionPlan,
    policy::text::Name,
};

/// Copies from one bucket to one other, as the policy wants them at this time.
#[derive(Clone, Debug)]
pub(super) struct ObjectCopyTask<'a> {
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

impl ObjectCopyTask<'_> {
    /// The prefixes to list: none lies within another, so that no object is listed twice.
    pub(super) fn list_prefixes(&self) -> Vec<&str> {
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
pub(super) type OldestObject = Option<(Timestamp, String)>;

/// The older of what is known and another object.
pub(super) fn keep_older(oldest: &mut OldestObject, object: &S3Object) {
    if oldest.as_ref().is_none_or(|(at, _)| object.modified < *at) {
        *oldest = Some((object.modified, object.key.clone()));
    }
}

/// What follows from a page of pairs.
#[derive(Debug, Default)]
pub(super) struct ObjectPagePlan {
    /// What to copy.
    pub(super) plan: ActionPlan<CopyObject>,
    /// The oldest object that has no copy and gets none in this run.
    pub(super) waits: OldestObject,
    /// Objects that should be copied and lie in an archive class.
    pub(super) archived: Vec<String>,
}

/// What stands between an object and its copy.
#[derive(Debug, PartialEq, Eq)]
enum CopyDecision {
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
pub(super) fn plan_page(task: &ObjectCopyTask<'_>, pairs: &[ObjectPair]) -> ObjectPagePlan {
    let mut page = ObjectPagePlan::default();
    for pair in pairs {
        // What only the destination has is none of our business: nothing is ever deleted there.
        let (ObjectPair::Missing(object) | ObjectPair::Both(object, _)) = pair else { continue };
        match decide_copy(task, pair) {
            CopyDecision::Copied => {}
            CopyDecision::Copy(because) => {
                let (from, to) = (task.from.to_owned(), task.to.to_owned());
                let kms_key = task.kms_key.clone();
                let action = CopyObject {
                    source_bucket: from,
                    object: object.clone(),
                    destination_bucket: to,
                    kms_key,
                };
                page.plan.push_step(task.from, action, because);
            }
            CopyDecision::Waits => keep_older(&mut page.waits, object),
            CopyDecision::Archived => {
                keep_older(&mut page.waits, object);
                page.archived.push(object.key.clone());
            }
        }
    }
    page
}

fn decide_copy(task: &ObjectCopyTask<'_>, pair: &ObjectPair) -> CopyDecision {
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
        ObjectPair::Both(..) | ObjectPair::Extra(_) => return CopyDecision::Copied,
    };
    if task.until.is_none_or(|until| object.modified > until) {
        CopyDecision::Waits
    } else if object.is_archived() {
        CopyDecision::Archived
    } else {
        CopyDecision::Copy(because)
    }
}

#[cfg(test)]
mod tests;
