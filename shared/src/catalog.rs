//! The facts: what exists, where, since when. Nothing here judges.

use crate::policy::{
    Home, Policy,
    text::{AccountId, Region},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// An account and a region, and the role that reaches it when it is not our own account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// Roles to assume there; none at home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Roles>,
}

/// The roles of another account that reach a place: one for each purpose, so that whoever has one can't do the others' work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Roles {
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
pub enum Purpose {
    /// To pull copies.
    Pull,
    /// To list and read.
    Read,
    /// To delete.
    Delete,
}

impl Roles {
    /// The role for a purpose. Deleting without a role of its own is the pulling role's, which a vault refuses.
    pub fn for_purpose(&self, purpose: Purpose) -> &str {
        match purpose {
            Purpose::Pull => &self.pull,
            Purpose::Read => &self.read,
            Purpose::Delete => self.delete.as_ref().unwrap_or(&self.pull),
        }
    }
}

impl Place {
    /// Where the policy's assets are.
    pub fn home(policy: &Policy) -> Self {
        let Home { account, region } = policy.home();
        Self { account, region, role: None }
    }

    /// Where a destination's copies are; none when the destination has no region.
    pub fn of(policy: &Policy, to: &crate::policy::text::Name) -> Option<Self> {
        let d = policy.destinations.get(to)?;
        Some(Self {
            account: d.account.clone().unwrap_or_else(|| policy.home().account),
            region: d.region.clone()?,
            role: d.role.as_ref().map(|pull| Roles {
                pull: pull.to_string(),
                read: d.read_role.as_ref().unwrap_or(pull).to_string(),
                delete: d.delete_role.as_ref().map(ToString::to_string),
                external_id: d.external_id.clone(),
            }),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.region, self.account)
    }
}

/// What lies beside a dump and says that its database was the same at a later time: `<key>.unchanged-20261121T020000Z`.
pub const UNCHANGED: &str = ".unchanged-%Y%m%dT%H%M%SZ";

/// The key of the dump that such a note is beside, and the time that it says.
pub fn unchanged(key: &str) -> Option<(&str, Timestamp)> {
    let (of, _) = key.rsplit_once(".unchanged-")?;
    let read = jiff::civil::DateTime::strptime(UNCHANGED, &key[of.len()..]).ok()?;
    Some((of, read.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()))
}

/// Which API family of RDS an asset belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// A DB instance.
    Instance,
    /// An Aurora or Multi-AZ DB cluster.
    Cluster,
}

impl Family {
    /// Its word in a tag.
    pub fn word(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Cluster => "cluster",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Instance, Self::Cluster].into_iter().find(|family| family.word() == word)
    }
}

/// A database as RDS describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// Its identifier.
    pub id: String,
    /// Instance or cluster.
    pub family: Family,
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
pub enum State {
    /// On its way: creating, copying, queued.
    InFlight,
    /// Complete.
    Good,
    /// It will never be complete; RDS's word for it.
    Failed(String),
}

/// The tags that Holdfast puts on what it makes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Marks {
    /// `holdfast:owner`: the policy that it was made for ([`Policy::owner`]); without it a point is not ours.
    pub owner: Option<String>,
    /// `holdfast:resource-id`: the resource id of the database that it was made from. A copy is known by it.
    pub resource_id: Option<String>,
    /// `holdfast:family`: which API family that database belongs to.
    pub family: Option<Family>,
    /// `holdfast:reason`.
    pub reason: Option<String>,
    /// `holdfast:slot`: the time it was due at.
    pub slot: Option<String>,
    /// `holdfast:also`: further reasons that it serves, each with the slot that it was due at.
    pub also: Vec<(String, String)>,
    /// `holdfast:request`: the demand it answers.
    pub request: Option<String>,
    /// `holdfast:copy-of`: ARN of the point that it is a copy of.
    pub copy_of: Option<String>,
    /// `holdfast:transfer`: a copy made only to be copied on.
    pub transfer: bool,
    /// `holdfast:data-time`: the time of the data in a copy.
    pub data_time: Option<Timestamp>,
    /// `holdfast:hold`: nobody may delete it; the value says why.
    pub hold: Option<String>,
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

impl Marks {
    /// Takes our marks out of a point's tags.
    pub fn from_tags<'t, V: AsRef<str>>(tags: impl Iterator<Item = (&'t str, V)>) -> Self {
        let mut marks = Self::default();
        for (key, value) in tags {
            let value = value.as_ref();
            let text = || Some(value.to_owned());
            match key {
                mark::OWNER => marks.owner = text(),
                mark::RESOURCE_ID => marks.resource_id = text(),
                mark::FAMILY => marks.family = Family::from_word(value),
                mark::REASON => marks.reason = text(),
                mark::SLOT => marks.slot = text(),
                mark::ALSO => {
                    let pairs = value.split(' ').filter_map(|pair| pair.split_once(':'));
                    marks.also = pairs.map(|(r, s)| (r.to_owned(), s.to_owned())).collect();
                }
                mark::REQUEST => marks.request = text(),
                mark::COPY_OF => marks.copy_of = text(),
                mark::TRANSFER => marks.transfer = true,
                mark::DATA_TIME => marks.data_time = value.parse().ok(),
                mark::HOLD => marks.hold = text(),
                _ => {}
            }
        }
        marks
    }

    /// Whether both were written by one and the same step: same owner, database, reasons, slots, request and source. What
    /// somebody added since (a hold) does not matter.
    pub fn same(&self, other: &Self) -> bool {
        let bare = |marks: &Self| Self { hold: None, ..marks.clone() };
        bare(self) == bare(other)
    }

    /// Every reason that it serves, with the slot that it was due at.
    pub fn serves(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let first = self.reason.as_deref().map(|r| (r, self.slot.as_deref()));
        first.into_iter().chain(self.also.iter().map(|(r, s)| (r.as_str(), Some(s.as_str()))))
    }
}

/// A recovery point: a snapshot of an RDS database, at home or as a copy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Its identifier.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// Identifier of the database that it is a point of.
    pub database: String,
    /// That database's resource id: which database it is, whatever its name was or is.
    pub resource_id: String,
    /// Instance or cluster snapshot.
    pub family: Family,
    /// RDS's own automated snapshot, which RDS alone lets go.
    pub automated: bool,
    /// Where it stands.
    pub state: State,
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
    pub marks: Marks,
}

impl Point {
    /// Whether it is complete.
    pub fn good(&self) -> bool {
        self.state == State::Good
    }

    /// Whether Holdfast made it for the policy with this owner.
    pub fn made_for(&self, owner: &str) -> bool {
        self.marks.owner.as_deref() == Some(owner)
    }

    /// The reason that it was taken for; RDS's own are `automated`. One may serve more: see [`Point::serves`].
    pub fn reason(&self) -> &str {
        if self.automated { AUTOMATED } else { self.marks.reason.as_deref().unwrap_or("manual") }
    }

    /// Every reason that it serves.
    pub fn reasons(&self) -> Vec<&str> {
        let mut all = vec![self.reason()];
        if !self.automated {
            all.extend(self.marks.also.iter().map(|(reason, _)| reason.as_str()));
        }
        all
    }

    /// Whether it serves a reason.
    pub fn serves(&self, reason: &str) -> bool {
        self.reasons().contains(&reason)
    }

    /// The slot that it was due at for a reason.
    pub fn slot_for(&self, reason: &str) -> Option<&str> {
        self.marks.serves().find(|(r, _)| *r == reason).and_then(|(_, slot)| slot)
    }

    /// The time of its data; where there is none (it is on its way, or failed), the time that its maker meant.
    pub fn meant_time(&self) -> Option<Timestamp> {
        let slot = || self.marks.slot.as_deref().and_then(crate::time::read_slot);
        self.data_time.or(self.marks.data_time).or_else(slot)
    }
}

/// The reason of RDS's own snapshots.
pub const AUTOMATED: &str = "automated";

/// Something that could not be seen. What follows from not seeing it must not be deleting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Where.
    pub place: Place,
    /// What was asked, and what came back.
    pub why: String,
    /// What to do about it.
    pub mend: String,
}

/// What was seen of RDS at one place.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// Databases.
    pub databases: Vec<Database>,
    /// Recovery points.
    pub points: Vec<Point>,
}

/// What tells one database from all others: its family and its resource id. Names change, and are used again. Where RDS
/// tells no resource id, it is the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lineage<'a> {
    /// A database by its resource id.
    Of(Family, &'a str),
    /// Whatever had this name.
    Named(Family, &'a str),
}

impl Database {
    /// Which database it is.
    pub fn lineage(&self) -> Lineage<'_> {
        lineage(self.family, &self.resource_id, &self.id)
    }
}

impl Point {
    /// Which database it is a point of.
    pub fn lineage(&self) -> Lineage<'_> {
        lineage(self.family, &self.resource_id, &self.database)
    }
}

fn lineage<'a>(family: Family, resource_id: &'a str, name: &'a str) -> Lineage<'a> {
    if resource_id.is_empty() {
        Lineage::Named(family, name)
    } else {
        Lineage::Of(family, resource_id)
    }
}

/// A fleet's points by the database that they are of.
#[derive(Clone, Debug, Default)]
pub struct ByDatabase<'a>(BTreeMap<Lineage<'a>, Vec<&'a Point>>);

impl Fleet {
    /// The points by database.
    pub fn by_database(&self) -> ByDatabase<'_> {
        let mut by = BTreeMap::<_, Vec<&Point>>::new();
        for point in &self.points {
            by.entry(point.lineage()).or_default().push(point);
        }
        ByDatabase(by)
    }

    /// The database that a point is one of, when it is still there, whatever its name is now.
    pub fn database_of(&self, point: &Point) -> Option<&Database> {
        let named = Lineage::Named(point.family, &point.database);
        let is = |d: &&Database| {
            d.lineage() == point.lineage()
                || (point.lineage() == named
                    && (d.family, &d.id) == (point.family, &point.database))
        };
        self.databases.iter().find(is)
    }
}

impl<'a> ByDatabase<'a> {
    /// Points of this very database, whatever its name was; not of one that had its name before.
    pub fn of(&self, database: &Database) -> Vec<&'a Point> {
        let mut points = self.lineage(database.lineage());
        let named = Lineage::Named(database.family, &database.id);
        if named != database.lineage() {
            points.extend(self.lineage(named));
        }
        points
    }

    /// Points of one lineage.
    pub fn lineage(&self, lineage: Lineage<'_>) -> Vec<&'a Point> {
        self.0.get(&lineage).cloned().unwrap_or_default()
    }

    /// Every lineage with its points.
    pub fn all(&self) -> impl Iterator<Item = (Lineage<'a>, &[&'a Point])> {
        self.0.iter().map(|(lineage, points)| (*lineage, points.as_slice()))
    }
}

/// What is seen of RDS at every place the policy names.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By place, what was seen whole.
    pub places: BTreeMap<Place, Fleet>,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
}

impl Seen {
    /// What was seen at a place; none when there is a gap.
    pub fn at(&self, place: &Place) -> Option<&Fleet> {
        self.places.get(place)
    }
}
