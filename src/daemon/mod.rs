//! The shell: the only room with a clock, sockets, signals, randomness and the store.

pub mod store;
