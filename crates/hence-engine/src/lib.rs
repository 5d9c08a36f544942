//! hence-engine
