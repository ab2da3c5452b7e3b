//! Tests of the simulated BMC as a whole, in virtual time.

mod console;
mod known_answers;
mod moods;
