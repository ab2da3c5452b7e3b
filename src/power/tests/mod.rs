//! Tests of the sequences through their public face, against a little simulated machine
//! ([`world`]).

mod boot;
mod controls;
mod earlier;
mod operations;
mod others;
mod pulses;
mod restart;
mod soft;
mod storm;
mod table;
mod walk;
mod words;
mod world;
