//! The whole chain, from the oldest record to the newest: what is missing, changed, moved or put in.

use super::{
    AuditLog, AuditRecord, ChainHead, LogObject,
    record::{self, ChainTip},
};
use crate::aws::OperationError;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Objects read at once.
const MAX_CONCURRENT_READS: usize = 16;

/// What became of a walk along the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChainVerification {
    /// Records that were seen, up to the first bad place.
    pub records: usize,
    /// Objects that they are in.
    pub objects: usize,
    /// When the first of them was recorded.
    pub from: Option<Timestamp>,
    /// When the last of them was recorded.
    pub to: Option<Timestamp>,
    /// `SEQ:HASH` of the last of them; keep it elsewhere, and a later verification also finds a tail that was cut.
    pub head: Option<String>,
    /// The first bad place; none when all is well.
    pub first_break: Option<ChainBreak>,
}

/// A place where the chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainBreak {
    /// The object, and the line where it is one.
    pub location: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What verification is held to.
#[derive(Clone, Debug)]
pub struct ChainExpectation {
    /// Now.
    pub now: Timestamp,
    /// How long records are kept.
    pub keep: SignedDuration,
    /// Where the log ended at an earlier verification.
    pub head: Option<ChainHead>,
}

/// A walk along the chain, object by object.
#[derive(Clone, Debug)]
pub(crate) struct ChainWalker<'e> {
    expected: &'e ChainExpectation,
    verdict: ChainVerification,
    seq: Option<u64>,
    last: ChainTip,
    head_found: bool,
    /// Every object is signed, so the chain alone tells what is missing: a number may belong to nobody.
    signed: bool,
}

impl AuditLog {
    /// Walks the whole chain.
    ///
    /// # Errors
    /// If the log can't be read; what is wrong with it is no error but the verdict.
    pub async fn verify_chain(
        &self,
        expected: &ChainExpectation,
    ) -> Result<ChainVerification, OperationError> {
        let mut walk =
            ChainWalker { signed: self.verifier.is_some(), ..ChainWalker::new(expected) };
        let (folders, mut foreign) = self.list_folders().await?;
        'all: for folder in folders {
            let mut numbers = Vec::new();
            for named in self.list_objects(folder).await? {
                match named {
                    LogObject::Own(seq) => numbers.push(seq),
                    LogObject::Foreign(name) => foreign.push(name),
                }
            }
            let get = |seq| async move { self.get_object(seq).await.map(|bytes| (seq, bytes)) };
            let mut objects = stream::iter(numbers).map(get).buffered(MAX_CONCURRENT_READS);
            while let Some((seq, bytes)) = objects.try_next().await? {
                let bytes = bytes.unwrap_or_default();
                let going_on = match self.verified_records(seq, &bytes) {
                    Ok(records) => walk.check_object(seq, records),
                    Err(why) => walk.record_break(super::object_path(seq), why),
                };
                if !going_on {
                    break 'all;
                }
            }
        }
        if let Some(name) = foreign.into_iter().min() {
            walk.record_break(name, "it is no record of Holdfast's");
        }
        let mut verdict = walk.into_verification();
        if let Some(bad) = &mut verdict.first_break {
            bad.location = self.display_location(&bad.location);
        }
        Ok(verdict)
    }

    /// A place below the prefix with the log's address.
    fn display_location(&self, place: &str) -> String {
        let sample = super::object_path(0);
        self.object_address(0).replace(&sample, place)
    }
}

impl<'e> ChainWalker<'e> {
    pub(crate) fn new(expected: &'e ChainExpectation) -> Self {
        let (verdict, last) = (ChainVerification::default(), ChainTip::genesis());
        Self { expected, verdict, seq: None, last, head_found: false, signed: false }
    }

    /// Notes a bad place, if it is the first.
    fn record_break(&mut self, place: impl Into<String>, why: impl Into<String>) -> bool {
        if self.verdict.first_break.is_none() {
            self.verdict.first_break =
                Some(ChainBreak { location: place.into(), reason: why.into() });
        }
        false
    }

    /// Looks at the next object; false when the chain is broken there.
    pub(crate) fn check_object(&mut self, seq: u64, bytes: &[u8]) -> bool {
        let name = super::object_path(seq);
        let follows = |before: u64| before + 1 == seq || (self.signed && before < seq);
        if let Some(before) = self.seq.filter(|before| !follows(*before)) {
            let why = if seq <= before {
                format!("it comes a second time, or out of order, after {before}")
            } else {
                format!("it is missing; what follows {before} is {seq}")
            };
            return self.record_break(super::object_path(before + 1), why);
        }
        let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
        if lines.is_empty() {
            return self.record_break(name, "it is empty");
        }
        let first = self.seq.is_none();
        for (i, line) in lines.iter().enumerate() {
            let place = format!("{name} line {}", i + 1);
            let Some(line) = line.strip_suffix(b"\n") else {
                return self.record_break(place, "it was changed: it has no end");
            };
            let record = match record::parse_record(line) {
                Ok(record) => record,
                Err(why) => return self.record_break(place, why),
            };
            let wrong = self.find_record_fault(&record, (seq, i + 1, lines.len()), first && i == 0);
            if let Some(why) = wrong {
                return self.record_break(place, why);
            }
            self.verdict.records += 1;
            self.verdict.from.get_or_insert(record.recorded_at);
            self.verdict.to = Some(record.recorded_at);
            self.last = ChainTip::from_record(&record);
        }
        self.seq = Some(seq);
        self.verdict.objects += 1;
        self.verdict.head = Some(ChainHead { seq, hash: self.last.hash.clone() }.to_string());
        self.matches_expected_head(seq)
    }

    /// What is wrong with a record at its place in the chain.
    fn find_record_fault(
        &self,
        r: &AuditRecord,
        place: (u64, usize, usize),
        begin: bool,
    ) -> Option<String> {
        if (r.seq, r.line, r.lines) != place {
            let (seq, line, of) = place;
            return Some(format!(
                "it is record {} of {} of object {}, and lies as {line} of {of} in {seq}",
                r.line, r.lines, r.seq
            ));
        }
        if !begin {
            let fits = r.prev_hash == self.last.hash && r.prev_at == self.last.at;
            return (!fits).then(|| {
                "it is not chained to the record before it: that one was changed, or this one"
                    .to_owned()
            });
        }
        match (place.0, r.prev_at) {
            (1, _) if r.prev_hash != ChainTip::genesis().hash => {
                Some("it is the first object and says that there was one before it".into())
            }
            (1, _) => None,
            // What was let go lies before the beginning; what is younger than that was taken away.
            (_, Some(at)) if self.expected.now.duration_since(at) < self.expected.keep => {
                Some(format!(
                    "the object before it is missing: it was written at {at}, and is to be kept longer"
                ))
            }
            _ => None,
        }
    }

    /// Whether the object is what an earlier verification ended with.
    fn matches_expected_head(&mut self, seq: u64) -> bool {
        let Some(head) = self.expected.head.as_ref().filter(|head| head.seq == seq) else {
            return true;
        };
        self.head_found = true;
        if head.hash == self.last.hash {
            return true;
        }
        let why = format!(
            "its last record's hash is {}, and an earlier verification saw {}",
            self.last.hash, head.hash
        );
        self.record_break(super::object_path(seq), why)
    }

    /// The verdict, once there is no more.
    pub(crate) fn into_verification(mut self) -> ChainVerification {
        if let Some(head) = self.expected.head.clone().filter(|_| !self.head_found) {
            let (seq, last) = (head.seq, self.seq.unwrap_or(0));
            let why = if seq > last {
                format!(
                    "it is missing: an earlier verification saw it, and the log ends with {last}"
                )
            } else {
                "an earlier verification ended with it, and it is not there to compare: take the head of a newer one"
                    .into()
            };
            self.record_break(super::object_path(seq), why);
        }
        self.verdict
    }
}
