//! What was seen, in the smallest form that the page needs: a thousand assets with a year of points fit in some megabytes.

use crate::prices::StorageKind;
use jiff::Timestamp;
use shared::{aws::cloudwatch::AlarmState, plan::Finding, report::AssetStatus};
use std::collections::BTreeMap;

/// An asset's name: its group in the policy, and its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetKey {
    /// The group.
    pub group: String,
    /// The asset.
    pub asset: String,
}

impl AssetKey {
    /// A name.
    #[expect(clippy::needless_pass_by_value, reason = "names come as text and as references to it")]
    pub fn new(group: impl ToString, asset: impl ToString) -> Self {
        Self { group: group.to_string(), asset: asset.to_string() }
    }
}

/// A place where backups lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupLocation {
    /// Its address: `eu-west-1 in 111122223333`, `s3://bucket/prefix`, `/var/backups`.
    pub name: String,
    /// Its region, where it has one: prices differ by it.
    pub region: Option<String>,
    /// Where points are made; the others hold copies of them.
    pub home: bool,
}

/// A recovery point, or a copy of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointRecord {
    /// Time of its data, in seconds since 1970.
    pub at: i64,
    /// When it was stored there, in seconds since 1970: what is paid from then on.
    pub stored: i64,
    /// Its size in bytes; of a snapshot, the size of its database.
    pub bytes: u64,
    /// Index of its place.
    pub location: u16,
    /// What it is stored as.
    pub class: StorageKind,
    /// Complete, and good to restore from. What is not costs all the same.
    pub good: bool,
}

/// Bytes that are no recovery point of their own and are paid for: a replica's objects, files of other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherStorage {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that are billed for them, where a class has a least size or an overhead for each.
    pub billed: u64,
    /// Bytes that are billed as S3 Standard for them: what Glacier keeps there of each object.
    pub index: u64,
    /// When they were stored, on average, in seconds since 1970; none when it is not known, and the whole month is paid.
    pub stored: Option<i64>,
    /// Index of their place.
    pub location: u16,
    /// What they are stored as.
    pub class: StorageKind,
}

/// What there is of one asset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssetStorage {
    /// Recovery points and copies, in any order.
    pub points: Vec<PointRecord>,
    /// What else is paid for.
    pub other: Vec<OtherStorage>,
    /// Places of it that could not be seen: nothing is concluded from their silence.
    pub unobserved: Vec<u16>,
    /// Name of its newest good point, where no function told one.
    pub newest: Option<String>,
}

/// A place that could not be seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct UnobservedLocation {
    /// Where.
    pub location: String,
    /// What was asked, and what came back.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// One line of the audit trail that the page counts with.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// Group of the asset, where the record tells it.
    pub group: Option<String>,
    /// The asset.
    pub asset: String,
    /// What kind of action.
    pub kind: Kind,
    /// Who did it: the function or command, and the person where there was one.
    pub who: String,
    /// What was done, in words.
    pub action: String,
    /// Whether it went well.
    pub done: bool,
    /// What came of it.
    pub detail: String,
    /// How long it took, in seconds.
    pub seconds: Option<f64>,
}

pub use shared::plan::Operation as Kind;

/// The newest record of an audit trail.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AuditHead {
    /// Its number.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Its hash: whoever keeps it can prove later that nothing before it was changed.
    pub hash: String,
}

/// What is known of the past.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AuditTrail {
    /// The policy keeps none.
    #[default]
    None,
    /// It could not be read; why.
    Unreadable(String),
    /// What it says, oldest first.
    Read {
        /// The records.
        events: Vec<AuditEvent>,
        /// The newest of all; none when there is none yet.
        head: Option<AuditHead>,
    },
}

/// Everything that the page is made of.
#[derive(Clone, Debug, Default)]
pub struct ReportInput {
    /// How the judging functions say that each asset stands.
    pub statuses: Vec<AssetStatus>,
    /// What they found.
    pub findings: Vec<Finding>,
    /// How far continuous backup is behind, in seconds, where there is one.
    pub lags: BTreeMap<AssetKey, f64>,
    /// Places.
    pub locations: Vec<BackupLocation>,
    /// What there is.
    pub storage: BTreeMap<AssetKey, AssetStorage>,
    /// What could not be seen.
    pub unobserved_locations: Vec<UnobservedLocation>,
    /// Directories of hosts, which a Lambda can't see and does not miss.
    pub host_directories: Vec<String>,
    /// The audit trail.
    pub trail: AuditTrail,
    /// The policy's alarms.
    pub alarms: Option<Vec<AlarmState>>,
    /// Pages of listings that one look takes.
    pub pages: u64,
}

impl ReportInput {
    /// The index of a place, which is added when it is new.
    pub fn intern_location(&mut self, spot: BackupLocation) -> u16 {
        let known = self.locations.iter().position(|s| *s == spot);
        let at = known.unwrap_or_else(|| {
            self.locations.push(spot);
            self.locations.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// The place of a point.
    pub(crate) fn location(&self, spot: u16) -> Option<&BackupLocation> {
        self.locations.get(usize::from(spot))
    }
}
