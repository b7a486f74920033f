//! The facts: what exists, where, since when. Nothing here judges.

use crate::policy::{
    HomeLocation, Policy,
    text::{AccountId, Arn, Region},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// An account and a region, and the role that reaches it when it is not our own account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// Roles to assume there; none at home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<LocationRoles>,
}

impl Location {
    /// Where the ARN says that it is, reached without another role; none of an ARN without region or account.
    pub fn of_arn(arn: &Arn) -> Option<Self> {
        let account = arn.as_str().split(':').nth(4)?.parse().ok()?;
        Some(Self { account, region: arn.region()?, role: None })
    }
}

/// The roles of another account that reach a place: one for each purpose, so that whoever has one can't do the others' work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LocationRoles {
    /// Pulls copies.
    pub pull: String,
    /// Lists and reads; the one that pulls where the policy names none.
    pub read: String,
    /// Deletes; where the policy names none, nothing is deleted there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete: Option<String>,
    /// What has to be given with each assumption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// What a role is assumed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RolePurpose {
    /// To pull copies.
    Pull,
    /// To list and read.
    Read,
    /// To delete.
    Delete,
}

impl LocationRoles {
    /// The role for a purpose. Deleting without a role of its own is the pulling role's, which a vault refuses.
    pub fn for_purpose(&self, purpose: RolePurpose) -> &str {
        match purpose {
            RolePurpose::Pull => &self.pull,
            RolePurpose::Read => &self.read,
            RolePurpose::Delete => self.delete.as_ref().unwrap_or(&self.pull),
        }
    }
}

impl Location {
    /// Where the policy's assets are.
    pub fn home_from_policy(policy: &Policy) -> Self {
        let HomeLocation { account, region } = policy.home_or_placeholder();
        Self { account, region, role: None }
    }

    /// Where a destination's copies are; none when the destination has no region.
    pub fn for_destination(policy: &Policy, to: &crate::policy::text::Name) -> Option<Self> {
        let d = policy.destinations.get(to)?;
        Some(Self {
            account: d.account.clone().unwrap_or_else(|| policy.home_or_placeholder().account),
            region: d.region.clone()?,
            role: d.role.as_ref().map(|pull| LocationRoles {
                pull: pull.to_string(),
                read: d.read_role.as_ref().unwrap_or(pull).to_string(),
                delete: d.delete_role.as_ref().map(ToString::to_string),
                external_id: d.external_id.clone(),
            }),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.region, self.account)
    }
}

/// What lies beside a dump and says that its database was the same at a later time: `<key>.unchanged-20261121T020000Z`.
pub const UNCHANGED_SUFFIX_FORMAT: &str = ".unchanged-%Y%m%dT%H%M%SZ";

/// The key of the dump that such a note is beside, and the time that it says.
pub fn parse_unchanged_marker(key: &str) -> Option<(&str, Timestamp)> {
    let (of, _) = key.rsplit_once(".unchanged-")?;
    let read = jiff::civil::DateTime::strptime(UNCHANGED_SUFFIX_FORMAT, &key[of.len()..]).ok()?;
    Some((of, read.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()))
}

/// Which API family of RDS an asset belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseKind {
    /// A DB instance.
    Instance,
    /// An Aurora or Multi-AZ DB cluster.
    Cluster,
}

impl DatabaseKind {
    /// Its word in a tag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Cluster => "cluster",
        }
    }

    fn from_tag_value(word: &str) -> Option<Self> {
        [Self::Instance, Self::Cluster].into_iter().find(|family| family.as_str() == word)
    }
}

/// A database as RDS describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct RdsDatabase {
    /// Its identifier.
    pub id: String,
    /// Instance or cluster.
    pub family: DatabaseKind,
    /// Its immutable resource id: stays when it is renamed, differs when it is made again under the same name.
    pub resource_id: String,
    /// Engine, such as `postgres`.
    pub engine: String,
    /// RDS's word for its state.
    pub status: String,
    /// Days that automated backups are kept; 0 is off.
    pub retention_days: i32,
    /// Preferred backup window, `hh24:mi-hh24:mi` UTC.
    pub window: String,
    /// Up to which time it can be restored.
    pub latest_restorable: Option<Timestamp>,
    /// From which time on it can be restored.
    pub earliest_restorable: Option<Timestamp>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether a standby runs in another availability zone.
    pub multi_az: bool,
    /// Whether its storage is encrypted.
    pub encrypted: bool,
    /// Log types exported to CloudWatch Logs.
    pub log_exports: Vec<String>,
    /// The instance that it is a read replica of.
    pub replica_of: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Where a recovery point stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryPointState {
    /// On its way: creating, copying, queued.
    InFlight,
    /// Complete.
    Good,
    /// It will never be complete; RDS's word for it.
    Failed(String),
}

/// The tags that Holdfast puts on what it makes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HoldfastTags {
    /// `holdfast:owner`: the policy that it was made for ([`Policy::owner`]); without it a point is not ours.
    pub owner: Option<String>,
    /// `holdfast:resource-id`: the resource id of the database that it was made from. A copy is known by it.
    pub resource_id: Option<String>,
    /// `holdfast:family`: which API family that database belongs to.
    pub family: Option<DatabaseKind>,
    /// `holdfast:reason`.
    pub reason: Option<String>,
    /// `holdfast:slot`: the time it was due at.
    pub slot: Option<String>,
    /// `holdfast:also`: further reasons that it serves, each with the slot that it was due at.
    pub additional_reasons: Vec<(String, String)>,
    /// `holdfast:request`: the demand it answers.
    pub request: Option<String>,
    /// `holdfast:copy-of`: ARN of the point that it is a copy of.
    pub copy_of: Option<String>,
    /// `holdfast:transfer`: a copy made only to be copied on.
    pub transfer: bool,
    /// `holdfast:data-time`: the time of the data in a copy.
    pub data_time: Option<Timestamp>,
    /// `holdfast:hold`: nobody may delete it; the value says why.
    pub legal_hold: Option<String>,
}

/// Keys of [`Marks`].
pub mod mark {
    /// The policy that it was made for.
    pub const OWNER: &str = "holdfast:owner";
    /// The resource id of the database that it was made from.
    pub const RESOURCE_ID: &str = "holdfast:resource-id";
    /// The API family of that database.
    pub const FAMILY: &str = "holdfast:family";
    /// Why it was made.
    pub const REASON: &str = "holdfast:reason";
    /// The time it was due at.
    pub const SLOT: &str = "holdfast:slot";
    /// Further reasons and slots that it serves: `monthly:202611010200 weekly:202611150200`.
    pub const ALSO: &str = "holdfast:also";
    /// The demand it answers.
    pub const REQUEST: &str = "holdfast:request";
    /// ARN of the point that it is a copy of.
    pub const COPY_OF: &str = "holdfast:copy-of";
    /// A copy made only to be copied on.
    pub const TRANSFER: &str = "holdfast:transfer";
    /// Nobody may delete it.
    pub const HOLD: &str = "holdfast:hold";
    /// The time of the data in a copy, where RDS does not tell it.
    pub const DATA_TIME: &str = "holdfast:data-time";
    /// The asset that it is a point of.
    pub const ASSET: &str = "holdfast:asset";
}

impl HoldfastTags {
    /// Takes our marks out of a point's tags.
    pub fn from_tags<'t, V: AsRef<str>>(tags: impl Iterator<Item = (&'t str, V)>) -> Self {
        let mut marks = Self::default();
        for (key, value) in tags {
            let value = value.as_ref();
            let text = || Some(value.to_owned());
            match key {
                mark::OWNER => marks.owner = text(),
                mark::RESOURCE_ID => marks.resource_id = text(),
                mark::FAMILY => marks.family = DatabaseKind::from_tag_value(value),
                mark::REASON => marks.reason = text(),
                mark::SLOT => marks.slot = text(),
                mark::ALSO => {
                    let pairs = value.split(' ').filter_map(|pair| pair.split_once(':'));
                    marks.additional_reasons =
                        pairs.map(|(r, s)| (r.to_owned(), s.to_owned())).collect();
                }
                mark::REQUEST => marks.request = text(),
                mark::COPY_OF => marks.copy_of = text(),
                mark::TRANSFER => marks.transfer = true,
                mark::DATA_TIME => marks.data_time = value.parse().ok(),
                mark::HOLD => marks.legal_hold = text(),
                _ => {}
            }
        }
        marks
    }

    /// Whether both were written by one and the same step: same owner, database, reasons, slots, request and source. What
    /// somebody added since (a hold) does not matter.
    pub fn is_same_step(&self, other: &Self) -> bool {
        let bare = |marks: &Self| Self { legal_hold: None, ..marks.clone() };
        bare(self) == bare(other)
    }

    /// Every reason that it serves, with the slot that it was due at.
    pub fn reasons_with_slots(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let first = self.reason.as_deref().map(|r| (r, self.slot.as_deref()));
        first
            .into_iter()
            .chain(self.additional_reasons.iter().map(|(r, s)| (r.as_str(), Some(s.as_str()))))
    }
}

/// A recovery point: a snapshot of an RDS database, at home or as a copy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecoveryPoint {
    /// Its identifier.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// Identifier of the database that it is a point of.
    pub database: String,
    /// That database's resource id: which database it is, whatever its name was or is.
    pub resource_id: String,
    /// Instance or cluster snapshot.
    pub kind: DatabaseKind,
    /// RDS's own automated snapshot, which RDS alone lets go.
    pub automated: bool,
    /// Where it stands.
    pub state: RecoveryPointState,
    /// Time of the data in it; unknown while it is on its way.
    pub data_time: Option<Timestamp>,
    /// When it, or this copy of it, was begun, where RDS tells it.
    pub started: Option<Timestamp>,
    /// Allocated storage in GiB.
    pub size_gib: i32,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The KMS key that it is encrypted with.
    pub kms_key: Option<String>,
    /// Option group that a restore needs.
    pub option_group: Option<String>,
    /// For a copy, the ARN of its source, as RDS tells it.
    pub source_arn: Option<String>,
    /// Our tags on it.
    pub tags: HoldfastTags,
}

impl RecoveryPoint {
    /// Whether it is complete.
    pub fn is_complete(&self) -> bool {
        self.state == RecoveryPointState::Good
    }

    /// Whether Holdfast made it for the policy with this owner.
    pub fn is_owned_by(&self, owner: &str) -> bool {
        self.tags.owner.as_deref() == Some(owner)
    }

    /// The reason that it was taken for; RDS's own are `automated`. One may serve more: see [`RecoveryPoint::has_reason`].
    pub fn reason(&self) -> &str {
        if self.automated {
            AUTOMATED_REASON
        } else {
            self.tags.reason.as_deref().unwrap_or("manual")
        }
    }

    /// Every reason that it serves.
    pub fn reasons(&self) -> Vec<&str> {
        let mut all = vec![self.reason()];
        if !self.automated {
            all.extend(self.tags.additional_reasons.iter().map(|(reason, _)| reason.as_str()));
        }
        all
    }

    /// Whether it serves a reason.
    pub fn has_reason(&self, reason: &str) -> bool {
        self.reasons().contains(&reason)
    }

    /// The slot that it was due at for a reason.
    pub fn slot_for(&self, reason: &str) -> Option<&str> {
        self.tags.reasons_with_slots().find(|(r, _)| *r == reason).and_then(|(_, slot)| slot)
    }

    /// The time of its data; where there is none (it is on its way, or failed), the time that its maker meant.
    pub fn intended_time(&self) -> Option<Timestamp> {
        let slot = || self.tags.slot.as_deref().and_then(crate::time::parse_slot);
        self.data_time.or(self.tags.data_time).or_else(slot)
    }
}

/// The reason of RDS's own snapshots.
pub const AUTOMATED_REASON: &str = "automated";

/// Something that could not be seen. What follows from not seeing it must not be deleting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObservationError {
    /// Where.
    pub location: Location,
    /// What was asked, and what came back.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What was seen of RDS at one place.
#[derive(Clone, Debug, Default)]
pub struct LocationInventory {
    /// Databases.
    pub databases: Vec<RdsDatabase>,
    /// Recovery points.
    pub points: Vec<RecoveryPoint>,
}

/// What tells one database from all others: its family and its resource id. Names change, and are used again. Where RDS
/// tells no resource id, it is the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatabaseIdentity<'a> {
    /// A database by its resource id.
    ByResourceId(DatabaseKind, &'a str),
    /// Whatever had this name.
    ByName(DatabaseKind, &'a str),
}

impl RdsDatabase {
    /// Which database it is.
    pub fn identity(&self) -> DatabaseIdentity<'_> {
        identity_of(self.family, &self.resource_id, &self.id)
    }
}

impl RecoveryPoint {
    /// Which database it is a point of.
    pub fn identity(&self) -> DatabaseIdentity<'_> {
        identity_of(self.kind, &self.resource_id, &self.database)
    }
}

fn identity_of<'a>(
    family: DatabaseKind,
    resource_id: &'a str,
    name: &'a str,
) -> DatabaseIdentity<'a> {
    if resource_id.is_empty() {
        DatabaseIdentity::ByName(family, name)
    } else {
        DatabaseIdentity::ByResourceId(family, resource_id)
    }
}

/// A fleet's points by the database that they are of.
#[derive(Clone, Debug, Default)]
pub struct PointsByDatabase<'a>(BTreeMap<DatabaseIdentity<'a>, Vec<&'a RecoveryPoint>>);

impl LocationInventory {
    /// The points by database.
    pub fn points_by_database(&self) -> PointsByDatabase<'_> {
        let mut by = BTreeMap::<_, Vec<&RecoveryPoint>>::new();
        for point in &self.points {
            by.entry(point.identity()).or_default().push(point);
        }
        PointsByDatabase(by)
    }

    /// The database that a point is one of, when it is still there, whatever its name is now.
    pub fn database_of(&self, point: &RecoveryPoint) -> Option<&RdsDatabase> {
        let named = DatabaseIdentity::ByName(point.kind, &point.database);
        let is = |d: &&RdsDatabase| {
            d.identity() == point.identity()
                || (point.identity() == named && (d.family, &d.id) == (point.kind, &point.database))
        };
        self.databases.iter().find(is)
    }
}

impl<'a> PointsByDatabase<'a> {
    /// Points of this very database, whatever its name was; not of one that had its name before.
    pub fn for_database(&self, database: &RdsDatabase) -> Vec<&'a RecoveryPoint> {
        let mut points = self.for_identity(database.identity());
        let named = DatabaseIdentity::ByName(database.family, &database.id);
        if named != database.identity() {
            points.extend(self.for_identity(named));
        }
        points
    }

    /// Points of one lineage.
    pub fn for_identity(&self, lineage: DatabaseIdentity<'_>) -> Vec<&'a RecoveryPoint> {
        self.0.get(&lineage).cloned().unwrap_or_default()
    }

    /// Every lineage with its points.
    pub fn identities_with_points(
        &self,
    ) -> impl Iterator<Item = (DatabaseIdentity<'a>, &[&'a RecoveryPoint])> {
        self.0.iter().map(|(lineage, points)| (*lineage, points.as_slice()))
    }
}

/// What is seen of RDS at every place the policy names.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// By place, what was seen whole.
    pub locations: BTreeMap<Location, LocationInventory>,
    /// What could not be seen.
    pub errors: Vec<ObservationError>,
}

impl Inventory {
    /// What was seen at a place; none when there is a gap.
    pub fn at_location(&self, place: &Location) -> Option<&LocationInventory> {
        self.locations.get(place)
    }
}
