//! rackbmc
fn main() {}
