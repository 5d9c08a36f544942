//! hence-bus
