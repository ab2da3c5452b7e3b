//! Tests of the simulated BMC as a whole.
