//! Tests of the simulated BMC as a whole, in virtual time.

mod known_answers;
