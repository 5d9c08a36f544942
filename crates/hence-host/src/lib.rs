//! hence-host
pub mod store;
pub mod sys;
