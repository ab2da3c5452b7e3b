//! One BMC: orders in, exactly one report each out. Session upkeep, pacing, quirks, the breaker (design, rule 10).

pub mod vocabulary;
