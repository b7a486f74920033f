//! What all of Holdfast's functions stand on.
pub mod policy;
