//! hence-ledger
