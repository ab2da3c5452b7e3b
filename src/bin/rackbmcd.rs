//! rackbmcd
fn main() {}
