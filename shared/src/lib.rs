//! What all of Holdfast's functions stand on.
//!
//! # Layout
//! - [`policy`]: the company's strategy, parsed and checked; [`source`]: where it is read from
//! - [`catalog`]: what exists; [`time`]: schedules, slots and ages; [`objective`]: how old a point may be;
//!   [`observe`]: looking at RDS; [`parts`]: every asset and part that a policy names
//! - [`finding_code`]: what can be wrong; [`plan`]: findings, steps and [`plan::DeletionPermit`]; [`keep`]: what stays and what may go; [`copies`]: points and their
//!   copies; [`name`]: identifiers and tags
//! - [`request`], [`run`], [`report`]: what a run is asked, how its steps are carried out, what it says
//! - [`audit`]: the record of what was done
//! - [`secret`]: keys and passwords, from where the policy says they are
//! - [`signing`]: signatures of what lies in stores and logs
//! - [`words`]: figures as people read them
//! - [`metrics`]: every metric, and the alarms on them
//! - [`aws`]: the edges; [`lambda`]: what each function's `main` calls
//!
//! - `model` (feature `model`): a small RDS for tests
//!
//! Nothing here knows a function.

pub mod audit;
pub mod aws;
pub mod bounded;
pub mod catalog;
pub mod copies;
pub mod finding_code;
pub mod hints;
pub mod keep;
pub mod lambda;
pub mod mail;
pub mod metrics;
#[cfg(any(test, feature = "model"))]
pub mod model;
pub mod name;
pub mod objective;
pub mod observe;
pub mod parts;
pub mod plan;
pub mod policy;
pub mod report;
pub mod request;
pub mod run;
pub mod secret;
pub mod signing;
pub mod source;
pub mod time;
pub mod words;
