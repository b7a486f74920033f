//! Drills: test restores by a calendar, and what each must show.

use super::{
    dumps::ScratchConfig,
    grammar::ScheduleConfig,
    text::{Name, Period},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, num::NonZeroU32};

/// A test restore, and what it must show.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillRule {
    /// What kind of drill.
    pub kind: DrillKind,
    /// Group of assets whose recovery points are restored. Every kind but `failover` and `full` needs it.
    #[serde(default)]
    pub of: Option<Name>,
    /// When: `MON#1` is the first Monday of a month, and with the months `1,4,7,10` the first of a quarter.
    pub schedule: ScheduleConfig,
    /// A drill that has not begun within this time after it is due is missed; 24 hours, or until it is due again.
    #[serde(default)]
    pub start_within: Option<Period>,
    /// Which recovery point is restored; the newest.
    #[serde(default)]
    pub point: PointChoice,
    /// Only recovery points of this age at most; any when it is left out.
    #[serde(default)]
    pub point_max_age: Option<Period>,
    /// So many assets each time, those first whose last proof is oldest; all of them when it is left out.
    #[serde(default)]
    pub rotate: Option<NonZeroU32>,
    /// Only these assets of the group; all of them when it is left out.
    #[serde(default)]
    pub only: Vec<String>,
    /// Where the restore runs; where the group's test restores run when it is left out.
    #[serde(default)]
    pub scratch: Option<ScratchConfig>,
    /// Instance class of the restored database, or `same`.
    #[serde(default)]
    pub instance_class: Option<String>,
    /// The drill takes this long at most; the group's objective when it is left out.
    #[serde(default)]
    pub rto: Option<Period>,
    /// What it brings back is this old at most; the group's objective when it is left out.
    #[serde(default)]
    pub rpo: Option<Period>,
    /// What must be true before and after, in the operators' words. A drill ticks none of them by itself: the evidence
    /// lists each as not proven.
    #[serde(default)]
    pub checklist: Vec<String>,
    /// SELECTs of one boolean that must be true on what was restored, beside the group's own `checks`.
    #[serde(default)]
    pub checks: BTreeMap<Name, String>,
    /// How long each of them may take; 10 minutes.
    #[serde(default)]
    pub check_timeout: Option<Period>,
    /// A SELECT of one time: the newest row. The RPO is measured from it, and from the dump's time without it.
    #[serde(default)]
    pub newest_row: Option<String>,
}

/// A kind of drill.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DrillKind {
    /// A snapshot is restored to a test instance.
    Snapshot,
    /// A dump is restored to a temporary database.
    Dump,
    /// A point in time is restored.
    PointInTime,
    /// An RDB file is loaded.
    Redis,
    /// Objects are read.
    Objects,
    /// A secret is restored.
    Secret,
    /// Hashes, decryption and sizes are checked.
    Quick,
    /// The application fails over to another region.
    Failover,
    /// Everything is recovered, in priority order.
    Full,
}

/// Which recovery point a drill restores.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PointChoice {
    /// The newest.
    #[default]
    Newest,
    /// Any one, drawn by a seed that stands in the evidence, so that the draw can be repeated.
    Random,
    /// The oldest that is kept.
    Oldest,
}

impl DrillKind {
    /// Whether a function runs it.
    pub fn is_implemented(self) -> bool {
        matches!(self, Self::Dump | Self::Quick)
    }

    /// Whether it proves that something can be restored. A quick one reads and hashes alone.
    pub fn proves_restore(self) -> bool {
        self != Self::Quick
    }

    /// Whether a database is restored, which SQL can be asked of.
    pub fn restores_database(self) -> bool {
        use DrillKind::{Dump, Failover, Full, PointInTime, Snapshot};
        matches!(self, Dump | Failover | Full | PointInTime | Snapshot)
    }

    /// Whether it restores an instance, which has a class.
    pub fn restores_instance(self) -> bool {
        self.restores_database() && self != Self::Dump
    }

    /// The sections of the policy that a drill of this kind can be of; none where it needs no group.
    pub fn fitting_sections(self) -> &'static [&'static str] {
        match self {
            Self::Snapshot => &["databases"],
            Self::Dump | Self::Quick => &["postgres"],
            Self::PointInTime => &["databases", "postgres"],
            Self::Redis => &["redis"],
            Self::Objects => &["buckets", "files"],
            Self::Secret => &["secrets"],
            Self::Failover | Self::Full => &[],
        }
    }
}

impl fmt::Display for DrillKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for PointChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
