//! Sequences as sources see them, and what is concluded.
