//! hence-host
